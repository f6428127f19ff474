"""`nnlint check --deep`: a budget that ends it cleanly, and progress for a person at a terminal alone."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from nnlint.cli import main
from nnlint.cli.progress import progress_bar

NET = """
import time
import torch
from torch import nn


class Slow(nn.Module):
    def __init__(self, head, seconds):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4))
        self.head, self.seconds = head, seconds

    def forward(self, x):
        time.sleep(self.seconds)
        return self.head(self.net(x))


def build(softmax=False, seconds=0.01):
    torch.manual_seed(0)
    model = Slow(nn.Softmax(dim=1) if softmax else nn.Identity(), seconds)
    return {
        "model": model,
        "inputs": torch.randn(32, 20),
        "targets": torch.arange(32) % 4,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("target", "status"), [("net.py:build(softmax=True)", 1), ("net.py:build(seconds=0.05)", 0)])
def test_a_budget_ends_the_probes_and_the_rest_is_reported(folder, target, status):
    done = CliRunner().invoke(main, ["check", "--in-process", target, "--deep", "--budget", "3s", "--format", "json"])
    assert done.exit_code == status, done.output
    (result,) = json.loads(done.stdout)["results"]
    assert result["status"] == "ok"
    # Measured before the budget was used up, and reported:
    assert [found["code"] for found in result["findings"] if found["level"] == "error"] == ["LOS001"] * status
    assert result["measurements"]["initial_loss"] == pytest.approx(1.39, abs=0.1)
    # Not measured, and said so:
    reasons = {entry["code"]: entry["reason"] for entry in result["skipped"]}
    assert any("the time budget was used up" in reason for reason in reasons.values())
    ended = [
        part["skipped"] for part in result["measurements"].values() if isinstance(part, dict) and "skipped" in part
    ]
    assert any("stopped by the clock, after" in reason for reason in ended)
    assert any("not begun" in reason for reason in ended)
    (cut,) = (found for found in result["findings"] if found["code"] == "RUN006")
    assert cut["level"] == "info"


def test_a_budget_with_room_leaves_nothing_out(folder):
    arguments = ["check", "--in-process", "net.py:build(seconds=0.0)", "--deep", "--budget", "10m", "--format", "json"]
    (result,) = json.loads(CliRunner().invoke(main, arguments).stdout)["results"]
    assert result["measurements"]["overfit"]["verdict"] == "fit"
    assert not any("budget" in entry["reason"] for entry in result["skipped"])


# --------------------------------------------------------------------- progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("style", "stream"), [("json", Terminal()), ("sarif", Terminal()), ("text", io.StringIO())])
def test_no_bar_where_nobody_would_see_it(monkeypatch, style, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(style) as on_step:
        assert on_step is None
    assert stream.getvalue() == ""


def test_a_bar_for_each_probe(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("text") as on_step:
        assert on_step is not None
        for probe, done, planned in (("overfit", 1, 100), ("overfit", 50, 100), ("lr-range", 3, 2)):
            on_step({"probe": probe, "done": done, "planned": planned})
    shown = stream.getvalue()
    assert "50/100" in shown
    assert shown.index("overfit") < shown.index("lr-range")
    assert "3/3" in shown
    assert shown.endswith("\n")


@pytest.mark.parametrize(("style", "seen"), [("text", True), ("json", False)])
def test_a_real_terminal(folder, repository, style, seen):
    pty = pytest.importorskip("pty", reason="no pseudo terminals on this system")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "nnlint", "check", "net.py:build", "--probe", "overfit", "--format", style]
    environment = {"PYTHONPATH": f"{repository}:{repository / 'rules'}", "OMP_NUM_THREADS": "1", "TERM": "xterm"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=False, cwd=folder, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert done.returncode == 0, shown
    assert (b"overfit" in shown) is seen
    assert b"\r" not in done.stdout
