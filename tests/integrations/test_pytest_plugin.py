"""The pytest plugin, in a pytest of its own: failures show the report, marks are defaults, nothing imports torch unasked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NET = """\
import pytest, torch
from torch import nn

def setup(*tail):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5), *tail)
    return {"model": model, "inputs": torch.randn(64, 20), "targets": torch.arange(64) % 5, "loss": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3)}
"""


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--strict-markers",
        "--rootdir",
        str(folder),
    ]
    plugin = [] if _is_installed() else ["-p", "nnlint.integrations.pytest_plugin"]
    return subprocess.run([*command, *plugin, str(folder)], capture_output=True, text=True, check=False, cwd=folder)


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(entry.value == "nnlint.integrations.pytest_plugin" for entry in entry_points(group="pytest11"))


def test_the_fixture_and_the_mark(tmp_path: Path) -> None:
    tests = """
def test_healthy(nnlint_check):
    assert nnlint_check(setup()).exit_status() == 0

def test_faulty(nnlint_check):
    nnlint_check(setup(nn.Softmax(dim=1)))

@pytest.mark.nnlint(ignore=("LOS001",))
def test_mark_gives_defaults(nnlint_check):
    nnlint_check(setup(nn.Softmax(dim=1)), select=("LOS001", "LOS002"))

@pytest.mark.nnlint
def test_returned_healthy():
    return setup()

@pytest.mark.nnlint(select=("LOS",))
def test_returned_faulty():
    return setup(nn.Softmax(dim=1))

@pytest.fixture
def tail():
    return nn.Softmax(dim=1)

@pytest.mark.nnlint(select=("LOS",))
def test_returned_with_a_fixture(tail):
    return setup(tail)

@pytest.mark.nnlint
def test_returns_nothing():
    pass
"""
    done = run(tmp_path, NET + tests)
    said = done.stdout
    assert "4 failed, 3 passed" in said, said
    for name in ("test_faulty", "test_returned_faulty", "test_returned_with_a_fixture", "test_returns_nothing"):
        assert f"FAILED test_it.py::{name}" in said
    assert said.count("error LOS001 softmax-before-cross-entropy") >= 3
    assert "Traceback" not in said
    assert "returns what is to be checked" in said


def test_a_run_without_nnlint_tests_imports_no_torch(tmp_path: Path) -> None:
    done = run(tmp_path, "import sys\n\ndef test_plain():\n    assert 'torch' not in sys.modules\n")
    assert "1 passed" in done.stdout, done.stdout
