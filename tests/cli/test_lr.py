"""`nnlint lr` on real targets: what it prints, and that standard output carries nothing else."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from nnlint.cli import main
from nnlint.report import TargetReport
from nnlint.reporters.lr_curve import render

NET = """
import os
import torch
from torch import nn

print("said while importing")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(20, 64), nn.Linear(64, 5)

    def forward(self, x):
        print("said in the forward")
        os.write(1, b"said from C")
        return self.fc2(torch.relu(self.fc1(x)))


def build(lr=4e-3, loss=True, optimizer=True):
    torch.manual_seed(0)
    made = {"model": Net(), "inputs": torch.randn(32, 20), "targets": torch.arange(32) % 5}
    if loss:
        made["loss"] = nn.CrossEntropyLoss()
    if optimizer:
        made["optimizer"] = torch.optim.Adam(made["model"].parameters(), lr=lr)
    return made
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["lr", "--in-process", *arguments])


def facts(text: str) -> dict[str, str]:
    """The lines of the text that name a fact, by its name; a long one goes on behind an indentation."""
    names = ("interval", "suggestion", "configured", "minimum", "tried")
    joined = text.replace("\n            ", " ").splitlines()
    return {line.split()[0]: line for line in joined if line.startswith(names)}


def test_text(folder):
    done = run("net.py:build")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "net.py:build   Net, CrossEntropyLoss, Adam lr 0.004"
    said = facts(done.stdout)
    low, high = (float(said["interval"].split()[index]) for index in (1, 3))
    assert 1e-4 < low < 4e-3 < high < 1.0
    assert low < float(said["suggestion"].split()[1]) < high
    assert said["configured"] == "configured  4.0e-03, inside the interval"
    assert "diverges" in said["tried"]
    assert max(map(len, lines)) <= 80
    assert sum("*" in line for line in lines) >= 8
    marks = next(line for line in lines if "==" in line)
    assert {"s", "c", "m", "="} <= set(marks)
    assert marks.index("=") < marks.index("s") < marks.rindex("=")
    assert "said" not in done.stdout
    assert "said in the forward" in done.stderr


def test_json_of_a_process_of_its_own(folder, repository):
    """The real command: a child checks, and what the user's code prints, from Python or from C, goes to standard error."""
    command = [sys.executable, "-m", "nnlint", "lr", "net.py:build", "--format", "json"]
    environment = {"PYTHONPATH": f"{repository}:{repository / 'rules'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout, parse_constant=pytest.fail)
    assert (shown["schema_version"], shown["target"], shown["status"]) == ("1.0", "net.py:build", "ok")
    measured = shown["learning_rate_range"]
    assert len(measured["rates"]) == len(measured["losses"]) == len(measured["smoothed"])
    assert measured["interval"][0] < measured["suggestion"] < measured["interval"][1]
    assert (measured["configured"], measured["optimizer"], measured["position"]) == (0.004, "Adam", "inside")
    assert any(trial["diverged"] for trial in measured["trials"])
    assert "said in the forward" in done.stderr
    assert "said from C" in done.stderr


def test_the_seed_is_the_reports(folder):
    one, other = (json.loads(run("net.py:build", "--format", "json", "--seed", "3").stdout) for _ in range(2))
    assert one["seed"] == 3
    assert one["learning_rate_range"] == other["learning_rate_range"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("net.py:build(lr=1e-6)", "1.0e-06, below the interval: the loss starts to move after about"),
        ("net.py:build(lr=50.0)", "5.0e+01, above the interval: training may diverge"),
        ("net.py:build(optimizer=False)", "no optimizer given: measured with AdamW"),
    ],
)
def test_where_the_configured_rate_stands(folder, target, words):
    done = run(target)
    assert done.exit_code == 0, done.output
    assert words in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("net.py:build(loss=False)", "could not be measured: no loss given"),
        ("net.py:Net", "could not be measured: no loss given"),
        ("net.py:build(lr=0.0)", "no learning rate above zero to change"),
        ("net.py:nothing", "RUN001 net.py has no attribute 'nothing'"),
        ("none.py:build", "RUN001"),
    ],
)
def test_what_cannot_be_measured_is_said_and_is_no_success(folder, target, reason):
    for style in ("text", "json"):
        done = run(target, "--format", style)
        assert done.exit_code == 2
        assert reason in done.stderr
        assert f"nnlint: exit status 2: the learning rates of {target} could not be measured" in done.stderr
        if style == "json":
            assert "interval" not in json.loads(done.stdout)["learning_rate_range"]
        else:
            assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments", [[], ["net.py:build", "--format", "sarif"], ["net.py:build", "--config", "none.toml"]]
)
def test_wrong_usage(folder, arguments):
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Error" in done.stderr or "none.toml" in done.stderr


def test_the_selection_of_the_configuration_does_not_matter(folder):
    text = '[tool.nnlint]\nselect = ["LOS"]\nignore = ["TRN"]\ndeep = true\nseed = 7\n'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    shown = json.loads(run("net.py:build", "--format", "json").stdout)
    assert shown["seed"] == 7
    assert shown["learning_rate_range"]["interval"] is not None
    assert shown["findings"] == []


def test_a_budget_that_is_used_up_is_said(folder):
    done = run("net.py:build", "--budget", "0.001")
    assert done.exit_code == 2
    assert "the time budget was used up" in done.stderr


# ------------------------------------------------------------------- the text of other results


def measured(**changes):
    rates = [10.0**power for power in range(-6, 1)]
    losses = [2.3, 2.3, 2.2, 1.5, 0.5, 3.0, math.inf]
    found = {
        "rates": rates, "losses": losses, "smoothed": losses[:-1], "interval": [1e-4, 1e-2], "suggestion": 1e-3,
        "configured": 1e-3, "position": "inside", "minimum": 1e-2, "minimum_diverged": False, "optimizer": "SGD",
        "trials": [{"rate": 1e-2, "losses": [2.3, 0.5], "diverged": False}], "steps_to_move": 3.0,
    }  # fmt: skip
    return {**found, **changes}


def text(**changes) -> str:
    return render(TargetReport(target="net:build"), measured(**changes), width=80)


def test_no_interval_is_said():
    flat = [2.3, 2.3, 2.29, 2.25, 2.21, 2.4]
    shown = text(interval=None, suggestion=None, minimum=None, position="unknown", trials=[], smoothed=flat)
    assert facts(shown)["interval"] == "interval    none: the loss falls too little at every rate, from 2.3 to 2.21"
    assert "suggestion" not in facts(shown)
    axis = shown.split("+---")[1]
    assert "=" not in axis
    assert axis.rstrip().endswith("c configured; loss over learning rate")


def test_no_interval_below_divergence_is_said():
    shown = text(interval=None, suggestion=None)
    assert facts(shown)["interval"] == "interval    none: training diverges at every rate at which the loss moves"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"minimum_diverged": True}, "too high, training from the start at this rate diverges"),
        ({"minimum": 0.1}, "too high, it is above the interval"),
        ({}, "1.0e-02, of the curve"),
    ],
)
def test_the_minimum_is_judged(changes, words):
    assert facts(text(**changes))["minimum"].endswith(words)


def test_what_is_far_above_the_start_does_not_press_the_curve_flat():
    rows = [line for line in text(smoothed=[2.3, 2.3, 2.2, 1.5, 0.5, 900.0]).splitlines() if "|" in line]
    assert "^" in rows[0]
    assert len({line.index("*") for line in rows if "*" in line}) >= 5
