"""How the cost of a check grows with the model: CPU seconds of the recording, of each probe and of each rule, with the exponent.

Usage: python benchmarks/growth.py [--layers 8 32 128 512] [--steps 50 200 800] [--top 12]

A part that does the same for every operation grows with exponent 1. Each setup is checked in a process of its own, on one thread;
the times are CPU times, each part without those that run inside it. Evidence that works on nothing but the graph (the meaning of
its axes) is in the time of the first rule that asks for it.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gc
import json
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnlint.rule import Rule

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: one thread

#: Less CPU time than this is no base for an exponent.
SHORTEST = 0.02


def residual_mlp(layers: int) -> dict[str, Any]:
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(16)
            self.up = nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.relu(self.up(self.norm(x)))

    model = nn.Sequential(nn.Linear(8, 16), *(Block() for _ in range(layers)), nn.Linear(16, 3))
    return trained(model, torch.randn(16, 8))


def unrolled_rnn(steps: int) -> dict[str, Any]:
    import torch
    from torch import nn

    class Unrolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.Linear(8 + 16, 16)
            self.head = nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = x.new_zeros(len(x), 16)
            for step in range(x.shape[1]):
                state = torch.tanh(self.cell(torch.cat([x[:, step], state], 1)))
            return self.head(state)

    return trained(Unrolled(), torch.randn(16, steps, 8))


def trained(model: Any, inputs: Any) -> dict[str, Any]:
    import torch

    return {
        "model": model,
        "inputs": inputs,
        "targets": torch.randint(0, 3, (16,)),
        "loss": torch.nn.CrossEntropyLoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), 1e-3),
    }


KINDS = {"residual MLP": residual_mlp, "unrolled RNN": unrolled_rnn}


class Clock:
    """CPU seconds of named parts that may lie inside each other: each part without those inside it."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._inner: list[float] = [0.0]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        begun = time.process_time()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole = time.process_time() - begun
            self.spent[name] += whole - self._inner.pop()
            self._inner[-1] += whole


def measure(kind: str, size: int) -> dict[str, float]:
    """CPU seconds of each part of one check, in this process."""
    import torch

    from nnlint import engine, registry
    from nnlint.config import CheckSettings
    from nnlint.probes.session import Session

    torch.manual_seed(0)
    engine.check(KINDS[kind](4), CheckSettings())  # imports and first calls
    clock, evidence, probe = Clock(), Session.evidence, Session.measure

    def timed_check(rule: Rule) -> Any:
        @functools.wraps(rule.check)
        def check(**given: Any) -> Any:
            with clock.part(rule.code):
                return list(rule.check(**given))

        return check

    def timed_evidence(session: Session, name: str) -> Any:
        with clock.part(name):
            return evidence(session, name)

    def timed_probe(session: Session, name: str, *rest: Any, **options: Any) -> Any:
        with clock.part(name):
            return probe(session, name, *rest, **options)

    setup = KINDS[kind](size)
    gc.collect()
    gc.freeze()  # the objects of imported libraries: looking through them takes 0.2 s now and then, in whatever part runs
    known = registry.load()
    timed = dataclasses.replace(known, rules=tuple(dataclasses.replace(r, check=timed_check(r)) for r in known.rules))
    Session.evidence, Session.measure = timed_evidence, timed_probe  # type: ignore[method-assign]
    with clock.part("rest"):
        report = engine.check(setup, CheckSettings(), registry=timed)
    assert report.status == "ok", report.findings
    return {**clock.spent, "whole check": sum(clock.spent.values()), "one training step": step_seconds(setup)}


def step_seconds(setup: dict[str, Any]) -> float:
    begun = time.process_time()
    for _ in range(3):
        setup["loss"](setup["model"](setup["inputs"]), setup["targets"]).backward()
        setup["optimizer"].step()
    return (time.process_time() - begun) / 3


def in_own_process(kind: str, size: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", kind, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def exponent(sizes: list[int], seconds: list[float]) -> float | None:
    """Of the growth between the last two sizes; None where the times are too short to tell."""
    if seconds[-2] < SHORTEST:
        return None
    return math.log(seconds[-1] / seconds[-2]) / math.log(sizes[-1] / sizes[-2])


def table(kind: str, sizes: list[int], top: int) -> Iterator[str]:
    """The table of one kind of model: the whole, then its costliest parts."""
    columns = [in_own_process(kind, size) for size in sizes]
    whole = ["whole check", "one training step"]
    parts = sorted(columns[-1].keys() - set(whole), key=lambda name: -columns[-1][name])
    yield f"| {kind} of | {' | '.join(map(str, sizes))} | exponent |"
    yield "| --- |" + " ---: |" * (len(sizes) + 1)
    for name in (*whole, *parts[:top]):
        seconds = [column.get(name, 0.0) for column in columns]
        growth = exponent(sizes, seconds)
        yield f"| {name} | {' | '.join(f'{s:.2f}' for s in seconds)} | {'-' if growth is None else f'{growth:.2f}'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[8, 32, 128, 512])
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 200, 800])
    parser.add_argument("--top", type=int, default=12, help="parts to show")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one[0], int(chosen.one[1]))))
        return
    for kind, sizes in (("residual MLP", chosen.layers), ("unrolled RNN", chosen.steps)):
        print("\n".join(table(kind, sizes, chosen.top)), end="\n\n")


if __name__ == "__main__":
    main()
