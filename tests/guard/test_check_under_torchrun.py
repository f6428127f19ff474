"""`nnlint check` in the ranks of torchrun: all of them take part in the collectives, rank 0 reports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nnlint.cli.check import is_reported_by_rank_0

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="torch without gloo"
)

TARGET = """
import torch
import torch.distributed as dist
from torch import nn


def build():
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.Softmax(dim=1)))
    total = torch.ones(())
    dist.all_reduce(total)  # would wait for ever if one rank checked alone
    assert int(total) == 2
    return {
        "model": model,
        "inputs": torch.randn(16, 6),
        "targets": torch.arange(16) % 4,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


def broken():
    raise ValueError("no data")
"""


def _ranks(folder: Path, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    (folder / "target.py").write_text(TARGET, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared["TORCHELASTIC_RUN_ID"] = "none"
    command = [sys.executable, "-m", "nnlint", "check", *arguments]
    started = [
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    ended = [(process, *process.communicate(timeout=300)) for process in started]
    return [subprocess.CompletedProcess(command, process.returncode, out, err) for process, out, err in ended]


def test_rank_0_reports_and_the_other_is_quiet(tmp_path: Path) -> None:
    first, second = _ranks(tmp_path, "target.py:build", "--format", "json", "--select", "LOS001")
    (result,) = json.loads(first.stdout)["results"]
    assert [finding["code"] for finding in result["findings"]] == ["LOS001"]
    assert first.returncode == 1
    assert (second.returncode, second.stdout) == (0, "")
    assert "nnlint" not in second.stderr


def test_a_target_that_fails_is_reported_once(tmp_path: Path) -> None:
    first, second = _ranks(tmp_path, "target.py:broken", "--in-process")
    assert first.returncode == 2
    assert "RUN001" in first.stdout
    assert (second.returncode, second.stdout) == (0, "")
    assert "RUN001" not in second.stderr


@pytest.mark.parametrize(
    ("environment", "quiet"),
    [
        ({"WORLD_SIZE": "2", "RANK": "1", "TORCHELASTIC_RUN_ID": "none"}, True),
        ({"WORLD_SIZE": "2", "RANK": "0", "TORCHELASTIC_RUN_ID": "none"}, False),
        ({"WORLD_SIZE": "1", "RANK": "0", "TORCHELASTIC_RUN_ID": "none"}, False),
        (
            {"WORLD_SIZE": "2", "RANK": "1"},
            False,
        ),  # a leftover of another program: a check that says nothing would look clean
        ({}, False),
    ],
)
def test_who_is_quiet(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *, quiet: bool) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_reported_by_rank_0() is quiet
