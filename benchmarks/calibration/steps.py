"""What a few real updates do to healthy models under ordinary optimizers: the thresholds of OPT003, OPT004, OPT009, TRN002, TRN004, GRD005.

    python -m benchmarks.calibration.steps [--samples 2 8 32] [--seeds 2]

Prints, for each optimizer, the extremes over models, batch sizes and seeds. Table: docs/evidence/calibration.md#steps.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections import defaultdict
from statistics import median

import torch
from tabulate import tabulate

from benchmarks.calibration.grid import USUAL, setups
from nnlint.probes.session import Plan, Session
from nnlint.probes.updates.stats import StepStats
from nnlint.setup import SetupOptions, coerce


def spike(stats: StepStats) -> float:
    """Largest norm of the gradient over the median of those before it, as GRD005 reads it."""
    if len(stats.gradient_norms) < 10:
        return math.nan
    return stats.gradient_spike[1] if stats.gradient_spike is not None else 0.0


def numbers(stats: StepStats) -> dict[str, float]:
    """What the rules compare with their limits."""
    shares = [item.decay_share for item in stats.parameters if item.dims > 1 and item.decay_share is not None]
    return {
        "update ratio": stats.median_update_ratio or 0.0,
        "smallest max ratio": -max(stats.update_ratios, default=0.0),
        "loss last/first": stats.rise,
        "died": max((layer.growth for layer in stats.dead if layer.units >= 8), default=0.0),
        "decay share": median(shares) if shares else 0.0,
        "spike": spike(stats),
        "ratio > .1 and not falling": float((stats.median_update_ratio or 0.0) > 0.1 and not stats.is_falling),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    seen: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for samples in options.samples:
        for seed in range(options.seeds):
            for model, optimizer, fields in setups(USUAL, samples=samples, seed=seed):
                stats = Session(coerce(fields, SetupOptions()), Plan(seed=seed)).evidence("StepStats")
                for name, value in numbers(stats).items():
                    seen[optimizer][name].append(value)
                if stats.rise > 2 or numbers(stats)["died"] > 0.3:
                    shown = {name: f"{value:.2g}" for name, value in numbers(stats).items()}
                    print(f"{model}, {optimizer}, {samples} samples, seed {seed}: {shown}", flush=True)
    names = list(next(iter(seen.values())))
    rows = [
        [optimizer, *(f"{max(filter(math.isfinite, values[name]), default=math.nan):.2g}" for name in names)]
        for optimizer, values in seen.items()
    ]
    print(tabulate(rows, headers=["optimizer (largest value over models, batches, seeds)", *names]))


if __name__ == "__main__":
    main()
