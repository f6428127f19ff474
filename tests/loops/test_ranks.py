"""DST001 to DST005 on two gloo ranks under torchrun, as a user would start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Each script needs two processes: one test process runs them one after another.
pytestmark = pytest.mark.xdist_group("ranks")

SCRIPT = """
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
data = TensorDataset(torch.randn(48, 4), torch.randint(0, 3, (48,)))
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
sampler = DistributedSampler(data, seed=1)
loader = DataLoader(data, batch_size=4, sampler=sampler)
wrapped = DistributedDataParallel(model)
opt = torch.optim.SGD(wrapped.parameters(), lr=0.1)
for epoch in range(3):
    sampler.set_epoch(epoch)
    for x, y in loader:
        opt.zero_grad()
        loss = F.cross_entropy(wrapped(x), y)
        loss.backward()
        opt.step()
dist.destroy_process_group()
"""


def codes(folder: Path, source: str) -> dict[str, str]:
    """Code and level of the loop's findings in rank 0's report."""
    (folder / "train.py").write_text(source)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    select = ["--select", "STP,DST", "--output", "json:report.json"]
    roots = os.pathsep.join(str(path) for path in (Path(__file__).parents[2], Path(__file__).parents[2] / "rules"))
    names = {**os.environ, "PYTHONPATH": roots, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, "-m", "nnlint", "run", *select, "train.py"],
        cwd=folder,
        env=names,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (folder / "report.json").exists(), done.stderr[-3000:]
    report = json.loads((folder / "report.json").read_text())
    return {found["code"]: found["level"] for result in report["results"] for found in result["findings"]}


def test_healthy_ranks(tmp_path: Path) -> None:
    assert codes(tmp_path, SCRIPT) == {"DST004": "info"}


def test_the_wrapper_is_bypassed(tmp_path: Path) -> None:
    found = codes(tmp_path, SCRIPT.replace("wrapped(x)", "wrapped.module(x)"))
    assert found.get("DST005") == "error"


def test_replicas_diverge(tmp_path: Path) -> None:
    drifting = SCRIPT.replace(
        "        opt.step()\n", "        opt.step()\n        if rank == 1: model[0].weight.data.mul_(1.01)\n"
    )
    assert codes(tmp_path, drifting).get("DST001") == "error"


def test_same_data_on_every_rank(tmp_path: Path) -> None:
    same = SCRIPT.replace("sampler=sampler)", "shuffle=True, generator=torch.Generator().manual_seed(3))")
    assert codes(tmp_path, same).get("DST002") == "error"


def test_the_epoch_is_not_set(tmp_path: Path) -> None:
    assert codes(tmp_path, SCRIPT.replace("    sampler.set_epoch(epoch)\n", "")).get("DST003") == "warning"
