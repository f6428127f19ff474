"""Scripts that leave past Python, fork, or move: one report, where it was asked for, and no success that nobody checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnlint.observation.leaving import Leaving, ProcessReplaced

TRAIN = """
import atexit, os, shutil, sys, tempfile
import torch
from torch import nn
import torch.nn.functional as F

def train(steps):
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.randn(64, 8)
    y = x[:, :4].argmax(1)
    for _ in range(steps):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
"""

MOVES = f"""{TRAIN}
child = os.fork()
train(1)
folder = tempfile.mkdtemp()
os.chdir(folder)
shutil.rmtree(folder)
atexit.register(os._exit, 0)
train(20)
if child:
    os.waitpid(child, 0)
"""

LEAVES = f"""{TRAIN}
train(3)
print("not flushed")
os._exit(0)
"""


def judged(source: str, folder: Path) -> tuple[int, dict[str, object]]:
    """Exit status, and the one report on standard output, which is in the file too."""
    (folder / "train.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "nnlint", "run", "--format", "json", "--output", "report.json", "train.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["summary"] == report["summary"]
    return done.returncode, report


@pytest.mark.parametrize("source", [MOVES, LEAVES], ids=["forks, moves and leaves at its exit", "leaves"])
def test_one_report_and_its_exit_status(source: str, tmp_path: Path) -> None:
    status, report = judged(source, tmp_path)
    assert status == 1
    assert "STP001" in json.dumps(report)


def test_what_leaves_is_reported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    told: list[BaseException] = []
    monkeypatch.setattr(os, "_exit", done.append)
    monkeypatch.setattr(os, "execv", lambda *arguments: done.append(arguments))
    for answer in (7, None):
        leaving = Leaving(lambda error, answer=answer: told.append(error) or answer)
        leaving.install()
        os.execv("/bin/true", ["true"])
        leaving.remove()
    assert done == [7, ("/bin/true", ["true"]), ("/bin/true", ["true"])]
    assert isinstance(told[0], ProcessReplaced)
    assert told[0].__traceback__ is not None
    assert told[0].__traceback__.tb_frame.f_code.co_filename == __file__


def test_a_forked_child_leaves_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(os, "_exit", done.append)
    leaving = Leaving(lambda error: pytest.fail(str(error)))
    leaving.install()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    os._exit(5)
    leaving.remove()
    assert done == [5]
