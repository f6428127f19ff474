"""Where the paths and inputs of a configuration start from, with the real engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nnlint.cli import main

NET = """
import torch
from torch import nn

def build():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return {"model": model, "inputs": torch.randn(16, 6), "targets": torch.arange(16) % 3, "loss": nn.CrossEntropyLoss()}

def bare():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
"""
CONFIG = """
[tool.nnlint]
targets = ["nets/net.py:build", "nets/net.py:bare"]
input = ["5"]
batch-size = 4
select = ["LOS001"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "net.py").write_text(NET, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def _report(*arguments: str) -> dict[str, dict]:
    shown = CliRunner().invoke(main, ["check", "--in-process", "--format", "json", *arguments])
    assert shown.exit_code in {0, 2}, shown.output
    return {result["target"]: result for result in json.loads(shown.stdout)["results"]}


@pytest.mark.parametrize("below", [".", "nets"])
def test_targets_of_the_file_start_from_its_folder(project, monkeypatch, below):
    monkeypatch.chdir(project / below)
    found = _report()
    assert {target: result["status"] for target, result in found.items()} == {
        "nets/net.py:build": "ok",
        "nets/net.py:bare": "ok",
    }


def test_inputs_of_the_file_serve_only_targets_without_any(project, monkeypatch):
    monkeypatch.chdir(project)
    found = _report()
    assert found["nets/net.py:build"]["subject"]["inputs"] == "16 x 6 float32"
    assert found["nets/net.py:bare"]["subject"]["inputs"] == "4 x 5 float32"
    assert any("given by the configuration" in line for line in found["nets/net.py:bare"]["assumptions"])


def test_typed_inputs_replace_those_of_the_target(project, monkeypatch):
    monkeypatch.chdir(project)
    assert _report("nets/net.py:build", "--input", "6")["nets/net.py:build"]["subject"]["inputs"] == "4 x 6 float32"


def test_typed_targets_start_from_the_working_directory(project, monkeypatch):
    monkeypatch.chdir(project / "nets")
    assert _report("net.py:build")["net.py:build"]["status"] == "ok"
    assert _report("nets/net.py:build")["nets/net.py:build"]["status"] == "failed"


@pytest.mark.parametrize("below", [".", "nets"])
def test_typed_weights_start_from_the_working_directory(project, monkeypatch, below):
    import torch

    monkeypatch.chdir(project / below)
    torch.save(torch.nn.Linear(2, 2).state_dict(), "other.pt")
    missing = _report("--weights", "gone.pt")["nets/net.py:bare"]
    assert missing["status"] == "failed"
    there = _report("--weights", "other.pt", "--select", "INI013")["nets/net.py:bare"]
    assert "no such file" not in str(there["findings"]).lower()
