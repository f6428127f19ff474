"""One of two ranks: checks a model by itself and as it is wrapped for the two, and writes what was found."""

from __future__ import annotations

import copy
import json
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

import nnlint
from nnlint.setup import sharded


def build(model: nn.Module) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    return {
        "model": model,
        "inputs": torch.randn(16, 6, generator=generator),
        "targets": torch.arange(16) % 4,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.3),
    }


def found(setup: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(item.code, item.module, item.message) for item in nnlint.check(setup, select=["ALL"]).findings]


def shards(model: nn.Module) -> list[Any]:
    return [
        parameter.to_local().tolist() if hasattr(parameter, "to_local") else parameter.tolist()
        for parameter in model.parameters()
    ]


def compared(plain: nn.Module, wrapped: Any) -> dict[str, Any]:
    before = shards(wrapped)
    results: dict[str, Any] = {"plain": found(build(plain)), "wrapped": found(build(wrapped))}
    results["same"] = shards(wrapped) == before
    setup = build(wrapped)
    setup["loss"](wrapped(setup["inputs"]), setup["targets"]).backward()  # the wrapped model still trains
    setup["optimizer"].step()
    return results


def main() -> None:
    rank, folder, wrapping = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=90)
    )
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.Softmax(dim=1))
    wrapped: Any = copy.deepcopy(plain)
    if wrapping == "ddp":
        wrapped = nn.parallel.DistributedDataParallel(wrapped)
    else:
        from torch.distributed.fsdp import fully_shard

        fully_shard(wrapped[0])
        fully_shard(wrapped)
    if wrapping == "alone":
        sharded._WAIT = 1.0
        results = {"wrapped": found(build(wrapped)) if rank == 0 else []}
    else:
        results = compared(plain, wrapped)
    (folder / f"{rank}.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
