"""Limits that stand in the code of probes and rules beside the options: what they separate, on generated losses and heads.

    python benchmarks/calibration/small_limits.py [weights] [spread] [still] [heads] [mixing] [momentum] [--write]

weights: how class weights rise with the frequencies (DAT014 on measured weights). spread: how far the gradients of one class differ
where the class has one weight (LossResponse.weights). still: the gradient at the target over that away from it, for the part of an
output that is compared with the targets and for the others (LossResponse). heads: what is left of a high first loss after a few updates,
by how the head was drawn (LOS018). mixing: the influence of one sample on the others, relative to the largest output and to the change
of its own (ARC008). momentum: what a momentum of 0.996 reaches beside one of 0.9 at the same rate / (1 - momentum) (OPT010). Tables: docs/evidence/calibration.md#small-limits.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(ROOT / "benchmarks" / "calibration")]

import torch  # noqa: E402
from pair_settings import problem, reduction  # noqa: E402
from sections import markdown_table, run_parts  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from nnlint.probes.dependence.by_sample import compared  # noqa: E402
from nnlint.probes.dependence.outputs import relative_difference  # noqa: E402
from nnlint_rules.data._class_weights import GIVEN, MEASURED, differ, rise_together  # noqa: E402

DRAWS = 200


# -------------------------------------------------------------------- weights


def weights() -> str:
    """Share of draws on which weights count as rising, in the interval of given weights and in that of measured ones."""
    kinds: dict[str, Callable[[list[int], random.Random], list[float]]] = {
        "a focal loss's alpha, drawn from 0.1 to 0.9": lambda n, draw: _alpha(len(n), draw),
        "inverse frequency": lambda n, _: [1.0 / count for count in n],
        "root of the inverse": lambda n, _: [count**-0.5 for count in n],
        "effective number, 0.999": lambda n, _: [(1 - 0.999) / (1 - 0.999**count) for count in n],
        "drawn from 0.5 to 2": lambda n, draw: [draw.uniform(0.5, 2.0) for _ in n],
        "faulty: the frequency": lambda n, _: [float(count) for count in n],
        "faulty: the frequency, rounded to a tenth": lambda n, _: [max(0.1, round(10 * count / sum(n)) / 10) for count in n],
    }
    rows = []
    for name, make in kinds.items():
        cells: list[object] = [name]
        for classes in (2, 3, 8):
            for powers in (GIVEN, MEASURED):
                hits = 0
                for seed in range(DRAWS):
                    draw = random.Random(seed)
                    counts = [max(4, int(400 * draw.random() ** 2)) for _ in range(classes)]
                    made = make(counts, draw)
                    hits += differ(made, counts, noise=3.0, ratio=1.5) and rise_together(made, counts, powers=powers, least=0.9)
                cells.append(f"{hits / DRAWS:.0%}")
        rows.append(cells)
    head = ["class weights", *(f"{n} classes, {kind}" for n in (2, 3, 8) for kind in ("given", "measured"))]
    return markdown_table(head, rows)


def _alpha(classes: int, draw: random.Random) -> list[float]:
    alpha = draw.uniform(0.1, 0.9)
    return [1.0 - alpha, alpha] if classes == 2 else [draw.uniform(0.1, 0.9) for _ in range(classes)]


# -------------------------------------------------------------------- spread


def spread() -> str:
    """Largest relative difference of the gradients of one class from their mean, at logits of zero."""

    def by_class(logits: Tensor, labels: Tensor, draw: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, weight=draw[: logits.shape[1]] + 0.1)

    def focal(logits: Tensor, labels: Tensor, draw: Tensor) -> Tensor:
        loss = functional.cross_entropy(logits, labels, reduction="none")
        return ((1 - (-loss).exp()) ** 2 * (draw[: logits.shape[1]] + 0.1)[labels] * loss).mean()

    def smoothed(logits: Tensor, labels: Tensor, draw: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, weight=draw[: logits.shape[1]] + 0.1, label_smoothing=0.1)

    def by_sample(jitter: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        def loss(logits: Tensor, labels: Tensor, draw: Tensor) -> Tensor:
            own = 1.0 + jitter * (2 * draw[: len(labels)] - 1)
            return (own * functional.cross_entropy(logits, labels, reduction="none")).mean()

        return loss

    kinds = {
        "one weight a class: `weight=`": by_class,
        "one weight a class: focal loss": focal,
        "one weight a class: `weight=`, label smoothing": smoothed,
        "weights of samples within 1 %": by_sample(0.01),
        "weights of samples within 10 %": by_sample(0.1),
        "weights of samples, 0 to 2": by_sample(1.0),
    }
    rows = []
    for name, loss in kinds.items():
        found = []
        for seed in range(40):
            torch.manual_seed(seed)
            classes = (2, 5, 20)[seed % 3]
            labels = torch.arange(200) % classes
            logits = torch.zeros(200, classes, requires_grad=True)
            (gradient,) = torch.autograd.grad(loss(logits, labels, torch.rand(200)), logits)
            sizes = gradient.double().norm(dim=1)
            found.append(max(_spread(sizes[labels == value]) for value in range(classes)))
        rows.append((name, f"{min(found):.1e}", f"{median(found):.1e}", f"{max(found):.1e}"))
    return markdown_table(("40 losses each", "smallest", "median", "largest"), rows)


def _spread(sizes: Tensor) -> float:
    mean = sizes.mean()
    return float((sizes - mean).abs().max() / mean)


# -------------------------------------------------------------------- still


def _normal(mean: Tensor, other: Tensor, target: Tensor) -> Tensor:
    return (0.5 * (other + (mean - target) ** 2 / other.exp())).mean()


#: Losses of two parts of an output and a target, which they compare with the first part.
_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "normal": _normal,
    "normal, in other units": lambda mean, other, target: _normal(31.7 * mean + 290.3, other, 31.7 * target + 290.3),
    "Laplace": lambda mean, other, target: (other + (mean - target).abs() / other.exp()).mean(),
    "Student": lambda mean, other, target: (0.5 * other + 2.0 * torch.log1p((mean - target) ** 2 / (3 * other.exp()))).mean(),
    "GaussianNLLLoss": lambda mean, other, target: functional.gaussian_nll_loss(mean, target, functional.softplus(other) + 1e-4),
    "Huber, penalty": lambda mean, other, target: functional.huber_loss(mean, target) + 1e-2 * other.square().mean(),
}


def still() -> str:
    """Gradient with respect to one part of an output where it is the target, over that where it is the target of another sample."""
    rows = []
    for name, loss in _LOSSES.items():
        compared, others = [], []
        for seed in range(40):
            torch.manual_seed(seed)
            target, first, second = torch.randn(32, 3), torch.randn(32, 3), 0.3 * torch.randn(32, 3)
            compared.append(_at_target(lambda part, s=second, t=target, f=loss: f(part, s, t), target))
            others.append(_at_target(lambda part, m=first, t=target, f=loss: f(m, part, t), target))
        rows.append((name, f"{max(compared):.1e}", f"{min(others):.1e}", f"{median(others):.1e}"))
    return markdown_table(("loss", "part that is compared, largest", "other part, smallest", "median"), rows)


def _at_target(loss: Callable[[Tensor], Tensor], target: Tensor) -> float:
    sizes = []
    for value in (target, target.roll(1, 0)):
        leaf = value.clone().requires_grad_()
        sizes.append(float(torch.autograd.grad(loss(leaf), leaf)[0].abs().max()))
    return sizes[0] / max(sizes[1], 1e-30)


# -------------------------------------------------------------------- heads


def heads() -> str:
    """What the spread of the logits adds to the first loss, and after how many updates with AdamW the loss is that of guessing."""
    draws: dict[str, Callable[[Tensor], Any]] = {
        "torch's default": lambda _: None,
        "xavier_uniform_": nn.init.xavier_uniform_,
        "kaiming_normal_": nn.init.kaiming_normal_,
        "normal_(std=0.2)": lambda weight: nn.init.normal_(weight, std=0.2),
        "normal_(std=1)": nn.init.normal_,
    }
    rows = []
    for name, draw in draws.items():
        found = [_calmed(draw, seed) for seed in range(24)]
        first, updates = sorted(one for one, _ in found), sorted(count for _, count in found)
        rows.append((name, f"{median(first):.2g}", f"{first[-1]:.2g}", median(updates), updates[-1]))
    return markdown_table(("head", "excess, nats: median", "largest", "updates until ln C: median", "largest"), rows)


def _calmed(draw: Callable[[Tensor], Any], seed: int) -> tuple[float, int]:
    """The excess of the first loss, and the updates after which the loss is at most ln C; 200 stands for more."""
    torch.manual_seed(seed)
    width, classes = ((64, 10), (128, 100), (256, 10))[seed % 3]
    body = [nn.Linear(32, width), nn.ReLU(), *([nn.LayerNorm(width)] if seed % 2 else [])]
    model = nn.Sequential(*body, nn.Linear(width, classes))
    draw(model[-1].weight.data)
    inputs, labels = torch.randn(256, 32), torch.arange(256) % classes
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    excess = _excess(model(inputs).detach())
    for step in range(200):
        loss = functional.cross_entropy(model(inputs), labels)
        if float(loss.detach()) <= math.log(classes):
            return excess, step
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return excess, 200


def _excess(logits: Tensor) -> float:
    return float((logits.logsumexp(1) - logits.mean(1)).mean() - torch.tensor(float(logits.shape[1])).log())


# -------------------------------------------------------------------- mixing


def mixing() -> str:
    """Influence of one sample on the others' outputs, by how much of the batch mean is mixed in and what the outputs lie around."""
    rows = []
    for offset in (0.0, 1e2, 1e4):
        for share in (0.0, 1e-4, 1e-2, 1.0):
            looks, plain = [], []
            for seed in range(24):
                torch.manual_seed(seed)
                net = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 10))
                one = torch.randn(8, 16)
                two = torch.cat([torch.randn(1, 16), one[1:]])
                with torch.no_grad():
                    outputs = [net(x) + share * net(x).mean(0) + offset for x in (one, two)]
                found = compared([outputs[0]], [outputs[1]], [0], 8)
                assert found is not None
                looks.append(found.influence)
                plain.append(relative_difference([outputs[0][1:]], [outputs[1][1:]]))
            name = "none" if not share else f"{share:g} of the mean of the batch"
            rows.append((name, f"{offset:g}", f"{min(plain):.1e} to {max(plain):.1e}", f"{min(looks):.1e} to {max(looks):.1e}"))
    head = ("mixed in", "outputs around", "relative to the largest output", "as measured (own change as well)")
    return markdown_table(head, rows)


# -------------------------------------------------------------------- momentum


def momentum() -> str:
    """Reduction of the loss in 1000 updates with SGD, four time constants of a momentum of 0.996, over that with 0.9 at the same plain rate."""
    shares: dict[str, list[float]] = {"below 0.0025": [], "0.0025 to 0.01": [], "0.01 to 0.1": [], "above 0.1": []}
    for seed in range(36):
        torch.manual_seed(seed)
        draw = random.Random(seed)
        fields, plain = problem(draw), 10 ** draw.uniform(-3.5, 1.0)
        slow, usual = (
            reduction(fields, lambda given, r=rest, p=plain: torch.optim.SGD(given, lr=p * r, momentum=1 - r), 1000) for rest in (0.004, 0.1)
        )
        place = (plain >= 0.0025) + (plain >= 0.01) + (plain >= 0.1)
        shares[list(shares)[place]].append(slow / usual)
    rows = [(name, len(found), f"{min(found):.2f}", f"{median(found):.2f}", f"{max(found):.2f}") for name, found in shares.items()]
    return markdown_table(("rate / (1 - momentum)", "problems", "smallest share", "median", "largest"), rows)


PARTS = {"mixing": mixing, "momentum": momentum, "weights": weights, "spread": spread, "still": still, "heads": heads}


if __name__ == "__main__":
    run_parts(__doc__, PARTS, "small")
