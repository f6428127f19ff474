"""Inside two ranks: a data-parallel or sharded model gives the findings of the plain one, and nobody waits for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="torch without gloo"
)


def run(folder: Path, repository: Path, wrapping: str) -> list[int]:
    command = [sys.executable, str(Path(__file__).with_name("ranks.py"))]
    ranks = [subprocess.Popen([*command, str(rank), str(folder), wrapping], cwd=repository) for rank in (0, 1)]
    return [rank.wait(timeout=300) for rank in ranks]


@pytest.mark.parametrize("wrapping", ["ddp", "fsdp"])
def test_two_ranks_find_what_one_process_finds(tmp_path: Path, repository: Path, wrapping: str) -> None:
    assert run(tmp_path, repository, wrapping) == [0, 0]
    for rank in (0, 1):
        results = json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8"))
        assert results["wrapped"] == results["plain"]
        assert results["same"]
        assert any(code == "LOS001" for code, _, _ in results["wrapped"])


def test_a_rank_that_checks_alone_does_not_wait_for_ever(tmp_path: Path, repository: Path) -> None:
    assert run(tmp_path, repository, "alone") == [0, 0]
    ((code, _, message),) = json.loads((tmp_path / "0.json").read_text(encoding="utf-8"))["wrapped"]
    assert code == "RUN001"
    assert "every rank calls nnlint.check" in message
