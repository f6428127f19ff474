"""The learning-rate intervals of healthy nets, and what training at rates from them comes to.

    python -m benchmarks.calibration.lr_range [--samples 32] [--seeds 1] [--steps 60]

For each net and optimizer: the interval, and the loss after `--steps` updates over the first loss at the interval's lower end, at the
suggestion, at its upper end and at the minimum of the curve. Table: docs/evidence/calibration.md#learning-rate-range.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.calibration.grid import MODELS, Fields
from nnlint import LearningRateRange
from nnlint.probes.session import Plan, Session
from nnlint.setup import SetupOptions, coerce

ARTICLE = Path(__file__).resolve().parents[2] / "fixtures" / "article"

KINDS: dict[str, Callable[[Any, float], torch.optim.Optimizer]] = {
    "SGD + .9": lambda parameters, rate: torch.optim.SGD(parameters, lr=rate, momentum=0.9),
    "Adam": lambda parameters, rate: torch.optim.Adam(parameters, lr=rate),
    "AdamW": lambda parameters, rate: torch.optim.AdamW(parameters, lr=rate),
}


def article_net(samples: int) -> Fields:
    """The article's Net on its stand-in for MNIST."""
    if str(ARTICLE) not in sys.path:
        sys.path.insert(0, str(ARTICLE))
    import vanishing_gradient

    fields: Fields = vanishing_gradient.build_relu()
    return {**fields, "inputs": fields["inputs"][:samples], "targets": fields["targets"][:samples]}


NETS: dict[str, Callable[[int], Fields]] = {**MODELS, "article's Net": article_net}


def built(name: str, kind: str, samples: int, seed: int, rate: float = 1e-3) -> Fields:
    """The fields of a setup, built afresh."""
    torch.manual_seed(seed)
    fields = NETS[name](samples)
    return {**fields, "optimizer": KINDS[kind](fields["model"].parameters(), rate)}


def left_after(fields: Fields, steps: int) -> float:
    """Last loss over the first of a training on the batch; inf where it is no number."""
    losses: list[float] = []
    for _ in range(steps + 1):
        fields["optimizer"].zero_grad()
        loss = fields["loss"](fields["model"](fields["inputs"]), fields["targets"])
        losses.append(float(loss.detach()))
        loss.backward()
        fields["optimizer"].step()
    return losses[-1] / losses[0] if math.isfinite(losses[-1]) else math.inf


def rows(samples: int, seed: int, steps: int) -> Iterator[list[Any]]:
    for name in NETS:
        for kind in KINDS:
            session = Session(
                coerce(built(name, kind, samples, seed), SetupOptions()), Plan(seed=seed, probes=("lr-range",))
            )
            found: LearningRateRange = session.evidence("LearningRateRange")
            if found.interval is None or found.suggestion is None:
                yield [name, kind, "none"]
                continue
            low, high = found.interval
            tried = (low, found.suggestion, high, found.minimum or math.nan)
            left = [left_after(built(name, kind, samples, seed, rate), steps) for rate in tried]
            shown = [f"{low:.1e} to {high:.1e}", f"{found.suggestion:.1e}", f"{found.minimum:.1e}"]
            yield [name, kind, *shown, *(f"{share:.2g}" for share in left)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    heads = [
        "net",
        "optimizer",
        "interval",
        "suggestion",
        "minimum",
        "low end",
        "at suggestion",
        "high end",
        "at minimum",
    ]
    for seed in range(options.seeds):
        print(f"seed {seed}, {options.samples} samples: loss after {options.steps} updates over the first")
        print(tabulate(rows(options.samples, seed, options.steps), headers=heads, tablefmt="github"), flush=True)


if __name__ == "__main__":
    main()
