"""What the other longer probes measure on healthy nets: input dependence, precision, validation gap, and what steps cost.

    python -m benchmarks.calibration.deep [input-dependence precision validation-gap effort] [--samples 32] [--seeds 2]

Tables: docs/evidence/calibration.md#input-dependence and the sections after it.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from tabulate import tabulate
from torch import nn

from benchmarks.calibration.grid import MODELS, OPTIMIZERS, Fields, transformer
from benchmarks.models import mlp, resnet18
from nnlint import InputDependence
from nnlint.finding import Skip
from nnlint.probes.longer import input_dependence, lr_range, overfit, validation_gap
from nnlint.probes.longer.effort import forward_work, steps_within
from nnlint.probes.longer.input_dependence import run_input_dependence
from nnlint.probes.session import Plan, Session
from nnlint.setup import SetupOptions, coerce

Rows = Iterator[list[Any]]

#: Budget, fewest and most steps of each probe: overfit, lr-range, input-dependence, validation.
LIMITS = [vars(probe)["_EFFORT"] for probe in (overfit, lr_range, input_dependence, validation_gap)]


def steps_of(limits: tuple[float, int, int], work: float) -> int:
    budget, least, most = limits
    return steps_within(work, budget, least=least, most=most)


class Masked(nn.Module):
    """Sees nothing of its input in training: what the limits have to tell from healthy nets."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x * 0 if self.training else x)


def session(fields: Fields, probe: str, seed: int) -> Session:
    return Session(coerce(fields, SetupOptions()), Plan(seed=seed, probes=(probe,)))


def work_of(made: Session) -> int:
    return forward_work(made.evidence("ForwardStats").graph, made.setup.model)


def dependence(samples: int, seeds: int) -> Rows:
    """The two measures of TRN005, largest and smallest over the seeds, without the overfit probe's short cut."""
    for name, build in MODELS.items():
        for masked in (False, True):
            found: list[InputDependence] = []
            for seed in range(seeds):
                torch.manual_seed(seed)
                fields = build(samples)
                if masked:
                    fields["model"] = Masked(fields["model"])
                made = session(fields, "input-dependence", seed)
                steps = steps_of(LIMITS[2], work_of(made))
                found.append(made.measure("calibration", _dependence_of(made, seed, steps)))
            gained = [(one.blind - one.real) / one.initial for one in found]
            changed = [abs((one.shuffled or 0.0) - one.trained) / one.trained for one in found]
            which = f"{name}, input times 0" if masked else name
            yield [
                which,
                found[0].steps,
                f"{min(gained):.3g}",
                f"{max(gained):.3g}",
                f"{min(changed):.3g}",
                f"{max(changed):.3g}",
            ]


def _dependence_of(made: Session, seed: int, steps: int) -> Callable[[], InputDependence]:
    return lambda: run_input_dependence(made.setup, made.guard, seed=seed, steps=steps)


def precision(samples: int, seeds: int) -> Rows:
    """Largest relative error of a layer and largest value, in both precisions."""
    for name, build in MODELS.items():
        for kind in ("bf16", "fp16"):
            errors, values = [], []
            for seed in range(seeds):
                torch.manual_seed(seed)
                try:
                    stats = session({**build(samples), "precision": kind}, "precision", seed).evidence("PrecisionStats")
                except Skip as skip:
                    print(f"{name}, {kind}: {skip.reason}")
                    continue
                errors += [layer.relative_error for layer in stats.layers]
                values += [layer.abs_max for layer in stats.layers]
            if not errors:
                continue
            ordered = sorted(errors)
            high = ordered[int(0.95 * (len(ordered) - 1))]
            yield [
                name,
                kind,
                f"{statistics.median(ordered):.2g}",
                f"{high:.2g}",
                f"{ordered[-1]:.2g}",
                f"{max(values):.3g}",
            ]


def validation(samples: int, seeds: int) -> Rows:
    """The gap of TRN006 where labels follow from the inputs, and where they are noise."""
    for name, build in MODELS.items():
        for optimizer in ("SGD .01 + .9", "Adam 1e-3"):
            falls, gaps = [], []
            for seed in range(seeds):
                torch.manual_seed(seed)
                batches = [build(samples) for _ in range(10)]
                pairs = [(fields["inputs"], fields["targets"]) for fields in batches]
                fields = {**batches[0], "data": pairs[:8], "val_data": pairs[8:]}
                fields["optimizer"] = OPTIMIZERS[optimizer](fields["model"].parameters())
                found = session(fields, "validation", seed).evidence("ValidationGap")
                falls.append(1.0 - found.train[-1] / found.train[0])
                gaps.append((found.validation[-1] - found.train[-1]) / found.train[0])
            labels = "from the inputs" if name in ("LSTM", "Transformer", "U-Net") else "noise"
            yield [name, optimizer, labels, f"{max(falls):.2f}", f"{min(gaps):.2f}", f"{max(gaps):.2f}"]


def effort(samples: int, seeds: int) -> Rows:
    """Multiply-adds that a step is taken for, its CPU time, and the steps that the longer probes get for it."""
    wide: dict[str, Callable[[int], Fields]] = {"MLP (5 k weights)": lambda _: mlp(), "ResNet-18": lambda _: resnet18()}
    for name, build in {**wide, **MODELS, "Transformer, 256 samples": lambda _: transformer(256)}.items():
        torch.manual_seed(0)
        made = session(build(samples), "overfit", 0)
        work = work_of(made)
        seconds = _step_seconds(build(samples))
        share = min(8 / len(made.setup.targets), 1.0)
        shares = (share, 1.0, 1.0, 1.0)  # overfit runs on eight samples
        counts = [steps_of(limits, work * part) for limits, part in zip(LIMITS, shares, strict=True)]
        yield [name, f"{work:.2g}", f"{seconds * 1e3:.2f} ms", f"{seconds / work * 1e12:.1f}", *counts]


def _step_seconds(fields: Fields) -> float:
    """Median CPU time of a training step, warm."""
    optimizer = torch.optim.SGD(fields["model"].parameters(), lr=1e-3)
    times = []
    for _ in range(12):
        begun = time.process_time()
        optimizer.zero_grad()
        fields["loss"](fields["model"](fields["inputs"]), fields["targets"]).backward()
        optimizer.step()
        times.append(time.process_time() - begun)
    return statistics.median(times[2:])


TABLES: dict[str, tuple[Callable[[int, int], Rows], list[str]]] = {
    "input-dependence": (
        dependence,
        ["net", "steps", "gain, smallest", "gain, largest", "change, smallest", "change, largest"],
    ),
    "precision": (precision, ["net", "precision", "error, median", "95 %", "largest", "largest value"]),
    "validation-gap": (validation, ["net", "optimizer", "labels", "fall, largest", "gap, smallest", "gap, largest"]),
    "effort": (
        effort,
        ["net", "work", "step (CPU)", "ps each", "overfit", "lr-range", "input-dependence", "validation"],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[*TABLES])
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in options.tables or TABLES:
        make, heads = TABLES[name]
        print(f"\n{name}, {options.samples} samples, {options.seeds} seeds")
        print(tabulate(make(options.samples, options.seeds), headers=heads, tablefmt="github"), flush=True)


if __name__ == "__main__":
    main()
