"""The ways in which people start a script: hydra, accelerate launch, torchrun with FSDP2, processes of its own, a notebook's %run, -m."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.libraries import library

STYLES = Path(__file__).parent / "styles"

#: A loop without zero_grad: STP001 at its `step()`.
LOOP = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def train(lr, prepare=lambda *parts: parts, backward=lambda loss: loss.backward()):
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(48, 4), torch.randint(0, 3, (48,)))
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    opt = torch.optim.SGD(model.parameters(), lr=lr)
    model, opt, loader = prepare(model, opt, DataLoader(data, batch_size=8, shuffle=True))
    for epoch in range(3):
        for xb, yb in loader:
            backward(F.cross_entropy(model(xb), yb))
            opt.step()
"""

HYDRA = """
import hydra
from loop import train

@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    assert cfg.lr == 0.2
    train(cfg.lr)

if __name__ == "__main__":
    main()
"""

ACCELERATE = """
from accelerate import Accelerator
from loop import train

accelerator = Accelerator(cpu=True)
train(0.1, accelerator.prepare, accelerator.backward)
"""

SPAWN = """
import torch.multiprocessing as mp
from loop import train

def work(rank, lr):
    train(lr)

if __name__ == "__main__":
    mp.spawn(work, args=(0.1,), nprocs=1)
"""

RELATIVE = """
import argparse
from ..loop import train

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    train(parser.parse_args().lr)
"""


def started(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder that holds the loop."""
    (folder / "loop.py").write_text(LOOP)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False, timeout=240, env=environment
    )


def test_hydra(tmp_path: Path) -> None:
    library("hydra")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("lr: 0.1\n")
    (tmp_path / "train.py").write_text(HYDRA)
    done = started(tmp_path, "-m", "nnlint", "run", "--no-color", "train.py", "lr=0.2")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("error STP001") == 1
    assert "loop.py:16 in train" in done.stderr


def test_accelerate_launch(tmp_path: Path) -> None:
    library("accelerate")
    (tmp_path / "train.py").write_text(ACCELERATE)
    command = ("accelerate.commands.launch", "--cpu", "--num_processes", "1", "-m", "nnlint", "run", "--no-color")
    done = started(tmp_path, "-m", *command, "train.py")
    assert done.stderr.count("error STP001") == 1, done.stderr
    assert "opt (SGD) applies gradients" in done.stderr


@pytest.mark.parametrize(("argument", "expected"), [("", "no findings"), ("kept", "STP001"), ("still", "STP005")])
def test_parameters_sharded_over_two_ranks(argument: str, expected: str, tmp_path: Path) -> None:
    ranks = ("torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
    run = ("-m", "nnlint", "run", "--no-color", str(STYLES / "fsdp.py"))
    done = started(tmp_path, "-m", *ranks, *run, *filter(None, [argument]))
    assert done.stderr.count(expected) >= 1, done.stderr
    assert sum(line.startswith(("error", "warning")) for line in done.stderr.splitlines()) == bool(argument)


BROKEN_RANK = """
import torch.distributed as dist
from loop import train
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")

def backward(loss):
    backward.calls = getattr(backward, "calls", 0) + 1
    if dist.get_rank() == 1 and backward.calls == 2:
        raise ValueError("shard 1 is broken")
    loss.backward()

train(0.1, lambda model, opt, loader: (DistributedDataParallel(model), opt, loader), backward)
"""


def test_the_rank_that_raised_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(BROKEN_RANK)
    ranks = ("torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
    done = started(tmp_path, "-m", *ranks, "-m", "nnlint", "run", "--no-color", "train.py")
    said = " ".join(done.stderr.split())
    assert "rank 1 raised ValueError: shard 1 is broken" in said
    assert said.count("error RUN012") == 1
    assert "train.py:11 in backward" in said


def test_processes_of_the_script_s_own_are_said_to_be_unseen(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SPAWN)
    done = started(tmp_path, "-m", "nnlint", "run", "--no-color", "train.py")
    assert done.returncode == 2, done.stderr
    assert "started processes of its own" in " ".join(done.stderr.split())
    assert "train.py:9" in done.stderr


def test_a_module_with_relative_imports_and_arguments(tmp_path: Path) -> None:
    package = tmp_path / "pkg" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package.parent / "loop.py").write_text(LOOP)
    (package / "train.py").write_text(RELATIVE)
    done = started(tmp_path, "-m", "nnlint", "run", "--no-color", "-m", "pkg.inner.train", "--lr", "0.1")
    assert done.returncode == 1, done.stderr
    assert "pkg/loop.py:16 in train" in done.stderr


def test_a_notebook_runs_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell_of: Any = library("IPython.core.interactiveshell").InteractiveShell
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    (tmp_path / "script.py").write_text(f"{LOOP}\nif __name__ == '__main__':\n    train(0.1)\n")
    shell = shell_of.instance()
    try:
        shell.run_line_magic("load_ext", "nnlint")
        with pytest.raises(library("IPython.core.error").UsageError, match="number of updates to watch, as in %%nnlint 8"):
            shell.run_cell_magic("nnlint", "eight", "pass")
        report = shell.run_cell_magic("nnlint", "", f"%run {tmp_path / 'script.py'}")
    finally:
        shell_of.clear_instance()
    found = [finding for finding in report.results[0].findings if finding.code == "STP001"]
    assert [finding.location.file.rpartition("/")[2] for finding in found] == ["script.py"]


ACCELERATED = """
from accelerate import Accelerator
from loop import train

accelerator = Accelerator(cpu=True)
train(0.1, accelerator.prepare, accelerator.backward)
accelerator.end_training()
"""


def test_accelerate_on_two_ranks_makes_one_report(tmp_path: Path) -> None:
    library("accelerate")
    (tmp_path / "train.py").write_text(ACCELERATED)
    command = ("torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d")
    names = ("--rdzv-endpoint", "localhost:0", "-m", "nnlint", "run", "--no-color", "train.py")
    done = started(tmp_path, "-m", *command, *names)
    assert done.stderr.count("error STP001") == 1, done.stderr
    assert done.stderr.count("watched") == 1
