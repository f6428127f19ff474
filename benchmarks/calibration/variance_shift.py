"""Whether dropout above a batch norm harms: as written against the repair that NRM001 advises, on the same steps.

    python -m benchmarks.calibration.variance_shift [--programs 40] [--steps 400] [--write]

Programs drawn from a seed: dense stacks, dropout straight into the norm, convolutions with dropout or channel dropout between,
convolutions over time, and heads (features -> dropout -> linear -> batch norm) as published. Half of them drop 10 to 30 % (the
healthy half by the limit of NRM001), half 40 to 80 %. Each is trained twice from the same seed: as written, and with the dropout
moved after the last batch norm. Printed by band of the variance ratio that the rule measures on the fresh model:

- loss on held-out data as written over that of the repair: above 1 the advice helps;
- loss on held-out data with the running statistics over that with statistics estimated again with dropout off: the part of the
  harm that is the variance shift itself.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional

import nnlint
from benchmarks.calibration.sections import put

CLASSES, TRAINED, HELD_OUT, BATCH = 10, 1024, 1000, 64
KINDS = ("dense", "straight into the norm", "head", "convolution", "channels", "time")
BANDS = ((0.0, 1.5), (1.5, 2.0), (2.0, 2.5), (2.5, 3.5), (3.5, float("inf")))


@dataclass(frozen=True)
class Outcome:
    """One program: variance ratio on the fresh model, and its two losses on held-out data, each over its reference."""

    kind: str
    p: float
    ratio: float
    advice: float
    shift: float


def samples(kind: str, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy samples of ten classes in the form that nets of the kind read."""
    torch.manual_seed(seed)
    count = TRAINED + HELD_OUT
    labels = torch.arange(count) % CLASSES
    if kind in ("dense", "straight into the norm"):
        inputs = torch.randn(CLASSES, 20)[labels] + 1.2 * torch.randn(count, 20)
    elif kind == "time":
        phase, time = torch.rand(count, 1), torch.arange(24) / 24
        inputs = torch.sin(6.28 * ((labels[:, None] + 1) * 0.6 * time + phase))[:, None] + 0.5 * torch.randn(
            count, 2, 24
        )
    else:
        coarse = functional.interpolate(torch.randn(CLASSES, 3, 4, 4), size=8, mode="bilinear")
        inputs = coarse[labels] * torch.rand(count, 1, 1, 1) + 0.5 * torch.randn(count, 3, 8, 8)
    return inputs, labels


def _layers(kind: str, inputs: int, width: int) -> list[nn.Module]:
    """One layer of the kind, with its norm and activation."""
    if kind in ("dense", "straight into the norm"):
        return [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
    if kind == "time":
        return [nn.Conv1d(inputs, width, 5, padding=2), nn.BatchNorm1d(width), nn.Tanh()]
    return [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]


def net(kind: str, p: float, width: int, *, repaired: bool) -> nn.Sequential:
    """The program as written, or with its dropout after the last batch norm."""
    form = nn.Dropout2d if kind == "channels" else nn.Dropout

    def here() -> nn.Module:
        return nn.Identity() if repaired else form(p)

    last: list[nn.Module] = [nn.Dropout(p) if repaired else nn.Identity(), nn.LazyLinear(CLASSES)]
    if kind == "straight into the norm":
        turned = [_turned(_layers(kind, inputs, width), here()) for inputs in (20, width)]
        return nn.Sequential(*turned[0], *turned[1], *last)
    if kind == "head":
        seen = [*_layers(kind, 3, width), nn.MaxPool2d(2), nn.Flatten()]
        return nn.Sequential(*seen, here(), nn.Linear(width * 16, width), nn.BatchNorm1d(width), *last)
    first = {"dense": 20, "time": 2}.get(kind, 3)
    body = [*_layers(kind, first, width), here(), *_layers(kind, width, width), here(), *_layers(kind, width, width)]
    pool = {"dense": nn.Identity(), "time": nn.AdaptiveAvgPool1d(2)}.get(kind, nn.AdaptiveAvgPool2d(2))
    return nn.Sequential(*body, pool, nn.Flatten(), *last)


def _turned(layers: list[nn.Module], dropout: nn.Module) -> list[nn.Module]:
    """Layer, activation, dropout and norm, in this order."""
    layer, norm, activation = layers
    return [layer, activation, dropout, norm]


def trained(model: nn.Sequential, inputs: Tensor, labels: Tensor, steps: int) -> nn.Sequential:
    """The model after Adam at 1e-3."""
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        rows = torch.randint(0, TRAINED, (BATCH,))
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
        optimizer.step()
    return model


@torch.no_grad()
def held_out(model: nn.Sequential, inputs: Tensor, labels: Tensor) -> float:
    """Evaluation loss on the samples that were not trained on."""
    return float(functional.cross_entropy(model.eval()(inputs[TRAINED:]), labels[TRAINED:]))


@torch.no_grad()
def estimate_again(model: nn.Sequential, inputs: Tensor) -> None:
    """Running statistics of the training samples with dropout off."""
    for module in model.eval():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    for batch in inputs[:TRAINED].split(BATCH):
        model(batch)


def measured_ratio(model: nn.Sequential, inputs: Tensor, labels: Tensor) -> float:
    """The largest variance ratio that NRM001 reads; 1 where no norm has dropout above it."""
    report = nnlint.check(
        nnlint.TrainingSetup(model=model, inputs=inputs[:BATCH], targets=labels[:BATCH], loss=nn.CrossEntropyLoss()),
        select=["NRM001"],
        rules={"NRM001": {"ratio": 1.0, "ignored_p": 0.0}},
    )
    return max((float(found.evidence["variance_ratio"]) for found in report.findings), default=1.0)


def outcomes(programs: int, steps: int) -> Iterator[Outcome]:
    """Each program, trained as written and repaired."""
    for seed in range(programs):
        draw = random.Random(seed)
        kind = KINDS[seed // 2 % len(KINDS)]
        p, width = (
            draw.choice((0.1, 0.2, 0.3) if seed % 2 == 0 else (0.4, 0.5, 0.6, 0.7, 0.8)),
            draw.choice((16, 24, 32)),
        )
        inputs, labels = samples(kind, seed)
        models = []
        for repaired in (False, True):
            torch.manual_seed(seed)
            models.append(net(kind, p, width, repaired=repaired))
            models[-1](inputs[:2])
        for mine, other in zip(models[1].modules(), models[0].modules(), strict=True):
            if isinstance(mine, nn.Linear | nn.Conv1d | nn.Conv2d):
                mine.load_state_dict(other.state_dict())
        ratio = measured_ratio(models[0], inputs, labels)
        written, repair = (held_out(trained(model.train(), inputs, labels, steps), inputs, labels) for model in models)
        estimate_again(models[0], inputs)
        yield Outcome(kind, p, ratio, written / repair, written / held_out(models[0], inputs, labels))


def table(found: list[Outcome]) -> str:
    """One row a band of the ratio, then one a kind of net for the faulty half."""

    def cells(chosen: list[Outcome]) -> list[str]:
        if not chosen:
            return ["0", "", "", "", ""]
        advice, shift = [one.advice for one in chosen], [one.shift for one in chosen]
        helped = sum(value > 1.1 for value in advice)
        return [str(len(chosen)), f"{median(advice):.2f}", f"{min(advice):.2f} to {max(advice):.2f}", str(helped), f"{median(shift):.2f}, {max(shift):.2f}"]  # fmt: skip

    rows = [
        [
            f"{low:g} to {high:g}" if high < float("inf") else f"above {low:g}",
            *cells([one for one in found if low <= one.ratio < high]),
        ]
        for low, high in BANDS
    ]
    rows += [
        [f"{kind}, above 1.5", *cells([one for one in found if one.kind == kind and one.ratio >= 1.5])]
        for kind in KINDS
    ]
    head = (
        "variance ratio",
        "nets",
        "as written / repaired, median",
        "range",
        "repair helps by 10 %",
        "running / estimated again, median, largest",
    )
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Measure, print, and with --write keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for one in outcomes(arguments.programs, arguments.steps):
        found.append(one)
        print(
            f"{one.kind}, p = {one.p:g}: ratio {one.ratio:.2f}, advice {one.advice:.2f}, shift {one.shift:.2f}",
            flush=True,
        )
    text = table(found)
    print(text)
    if arguments.write:
        put("repair variance-shift", text)


if __name__ == "__main__":
    main()
