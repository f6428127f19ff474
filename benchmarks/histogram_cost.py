"""What the histograms of the HTML report cost, in warm training steps of a ResNet-18.

Usage: python benchmarks/histogram_cost.py [--rounds 15] [--write]

The training pass of a check is run with and without histograms, and a plain training step beside them, in turn, in one process and
one thread; CPU times. The cost is the median over the rounds of (with - without), in medians of a step. `--write` puts it into
docs/evidence/cost.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: one thread

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PAGE = ROOT / "docs" / "evidence" / "cost.md"
MODELS = ("resnet18", "mlp")


def cpu_milliseconds(action: Callable[[], object]) -> float:
    begun = time.process_time()
    action()
    return 1e3 * (time.process_time() - begun)


def measured(name: str, rounds: int) -> dict[str, float]:
    """Medians over the rounds, after one that is thrown away."""
    from benchmarks import models
    from nnlint.probes.training_pass.run import run_training_pass
    from nnlint.setup import SetupOptions, coerce

    setup = coerce(getattr(models, name)(), SetupOptions())
    setup.model.train()

    def step() -> None:
        setup.optimizer.zero_grad()
        setup.loss(setup.model(setup.inputs), setup.targets).backward()
        setup.optimizer.step()

    def run(*, histograms: bool) -> Any:
        setup.model.zero_grad()
        return run_training_pass(setup, seed=0, histograms=histograms)

    times: dict[str, list[float]] = {"step": [], "without": [], "with": []}
    for _ in range(rounds + 1):
        step()  # the caches are the training loop's again
        times["step"] += [cpu_milliseconds(step), cpu_milliseconds(step)]
        times["without"].append(cpu_milliseconds(lambda: run(histograms=False)))
        times["with"].append(cpu_milliseconds(lambda: run(histograms=True)))
    drawn = run(histograms=True)
    counted = [len(layer.histogram) > 0 for layer in drawn.forward.layers]
    counted += [len(layer.histogram) > 0 for layer in drawn.backward.layers]
    counted += [found for one in drawn.backward.parameters for found in (bool(one.histogram), bool(one.weight_histogram))]
    more = [after - before for before, after in zip(times["without"][1:], times["with"][1:], strict=True)]
    return {
        "step": statistics.median(times["step"][2:]),
        "without": statistics.median(times["without"][1:]),
        "with": statistics.median(times["with"][1:]),
        "more": statistics.median(more),
        "histograms": sum(counted),
    }


def table(rounds: int) -> str:
    from tabulate import tabulate

    rows = []
    for name in MODELS:
        found = measured(name, rounds)
        times = [f"{found[key]:.1f} ms" for key in ("step", "without", "with", "more")]
        rows.append([name, found["histograms"], *times, f"{found['more'] / found['step']:.2f}"])
    heads = ["model", "histograms", "step", "pass without", "pass with", "cost", "in steps"]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="What the histograms cost.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    found = table(arguments.rounds)
    print(found)
    if arguments.write:
        from benchmarks.marked import write_between

        write_between(PAGE, "histograms", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
