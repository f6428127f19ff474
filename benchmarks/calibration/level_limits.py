"""Limits that only set the level of a finding: what is left of the harm on either side of them.

    python benchmarks/calibration/level_limits.py [updates] [noise] [progress] [dominance] [--write]

updates: a high first loss that a few updates bring down to that of guessing (LOS018). noise: a momentum of 0.996 beside one of 0.9 at the
same rate / (1 - momentum), on batches of 8 of 64 samples (OPT010 plain_rate). progress: how far the loss of nets with collapsed features
falls, of those that learn to tell samples apart and of those that do not (SIG006). dominance: what training gains from the inputs beside
the ratio of two terms of the loss (TRN005). Tables: docs/evidence/calibration.md#level-limits.
"""

from __future__ import annotations

import copy
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
from pair_settings import problem  # noqa: E402
from sections import markdown_table, run_parts  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from nnlint.probes.session import Plan, Session  # noqa: E402
from nnlint.setup import SetupOptions, coerce  # noqa: E402

#: Programs of each part; half of them, about, are on either side of the limit.
DRAWS = 48


def _spans(found: dict[str, list[float]]) -> list[tuple[object, ...]]:
    """A row for each group: how many, smallest, median, largest."""
    return [
        (name, len(group), *(f"{value:.2f}" for value in (min(group), median(group), max(group)))) if group else (name, 0, "", "", "")
        for name, group in found.items()
    ]


# -------------------------------------------------------------------- LOS018 updates


def updates() -> str:
    """Loss after 60 updates beside that of the same net with a small head, by the updates until the loss is at most ln C."""
    found: dict[str, list[float]] = {"at most 3": [], "4 to 10": [], "more": []}
    for seed in range(4 * DRAWS):
        torch.manual_seed(seed)
        draw = random.Random(seed)
        classes, inputs = draw.choice((4, 10, 20)), torch.randn(128, 20)
        labels = (inputs @ torch.randn(20, classes)).argmax(1)
        net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.LayerNorm(64), nn.Linear(64, classes))
        nn.init.normal_(net[-1].weight, std=10 ** draw.uniform(-0.8, 0.3))
        logits = net(inputs).detach()
        if float((logits.logsumexp(1) - logits.mean(1)).mean()) - math.log(classes) <= 0.7:
            continue
        small = copy.deepcopy(net)
        nn.init.normal_(small[-1].weight, std=0.01)
        rate = draw.choice((1e-3, 1e-2))
        given, better = (_trained(one, inputs, labels, rate) for one in (net, small))
        calm = next((step for step, loss in enumerate(given) if loss <= math.log(classes)), len(given))
        group = "at most 3" if calm <= 3 else "4 to 10" if calm <= 10 else "more"
        found[group].append((given[-1] - better[-1]) / math.log(classes))
    return markdown_table(("updates until ln C", "nets", "higher by, in ln C: smallest", "median", "largest"), _spans(found))


def _trained(net: nn.Module, inputs: Tensor, labels: Tensor, rate: float) -> list[float]:
    """Losses before each of 60 updates."""
    optimizer, losses = torch.optim.AdamW(net.parameters(), lr=rate), []
    for _ in range(60):
        loss = functional.cross_entropy(net(inputs), labels)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


# -------------------------------------------------------------------- OPT010 plain_rate


def noise() -> str:
    """Reduction of the loss of all samples in 1500 updates of 8 of them, with a momentum of 0.996 over that with 0.9."""
    found: dict[str, list[float]] = {"below 0.0025": [], "0.0025 to 0.01": [], "0.01 to 0.1": [], "0.1 to 1": [], "above 1": []}
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        draw = random.Random(seed)
        fields, plain = problem(draw), 10 ** draw.uniform(-3.2, 1.0)
        slow, usual = (_reduced(fields, plain * rest, 1 - rest) for rest in (0.004, 0.1))
        group = list(found)[sum(plain >= limit for limit in (0.0025, 0.01, 0.1, 1.0))]
        found[group].append(max(-1.0, slow / usual) if usual > 0 else float(slow <= usual))
    return markdown_table(("rate / (1 - momentum)", "problems", "smallest share", "median", "largest"), _spans(found))


def _reduced(fields: dict[str, Any], rate: float, momentum: float) -> float:
    model, generator = copy.deepcopy(fields["model"]), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
    inputs, targets = fields["inputs"], fields["targets"]
    first = float(fields["loss"](model(inputs), targets).detach())
    for _ in range(1500):
        rows = torch.randperm(len(inputs), generator=generator)[:8]
        optimizer.zero_grad()
        fields["loss"](model(inputs[rows]), targets[rows]).backward()
        optimizer.step()
    last = float(fields["loss"](model(inputs), targets).detach())
    return first - last if math.isfinite(last) else -first


# -------------------------------------------------------------------- SIG006 progress


class Faint(nn.Module):
    """Features that differ between samples by a small part of a constant that is added to them; with `scale` training sets the part."""

    def __init__(self, share: float, depth: int, *, scale: bool) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.full((20,), share)) if scale else share
        layers = [part for _ in range(depth) for part in (nn.Linear(20, 20), nn.Tanh())]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(20, 4)
        self.register_buffer("constant", 1.0 + torch.rand(20))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.constant + self.share * self.body(x))


def progress() -> str:
    """Fall of the loss in the overfit probe, by whether 1000 updates teach the net to tell the samples apart."""
    found: dict[str, list[float]] = {"learns": [], "learns nothing of the samples": []}
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        draw = random.Random(seed)
        inputs, labels = torch.randn(16, 20), (torch.arange(16) % draw.choice((2, 4))).sort().values
        model = Faint(10 ** draw.uniform(-4.5, -2), draw.randint(1, 4), scale=seed % 2 == 0)
        fields = {"model": model, "inputs": inputs, "targets": labels, "loss": _unknown, "optimizer": torch.optim.Adam(model.parameters())}
        session = Session(coerce(fields, SetupOptions()), Plan(probes=("overfit",)))
        spread = min((layer.sample_spread or 1.0) for layer in session.evidence("ForwardStats").layers)
        probe = session.evidence("OverfitRun")
        session.close()
        if spread >= 0.005 or not probe.limits or probe.verdict == "fit":
            continue
        name = "learns" if _learns(copy.deepcopy(model), inputs, labels) else "learns nothing of the samples"
        found[name].append(1.0 - probe.best_loss / probe.initial_loss)
    limits = (0.1, 0.2, 0.3, 0.4)
    rows = [(name, len(falls), *(sum(fall < limit for fall in falls) for limit in limits), f"{median(falls):.2f}") for name, falls in found.items()]
    heads = ("nets with collapsed features", "number", *(f"falls by less than {limit:g}" for limit in limits), "fall, median")
    return markdown_table(heads, rows)


def _unknown(outputs: Tensor, labels: Tensor) -> Tensor:
    """A loss whose lowest value nothing tells."""
    right = outputs.softmax(1)[torch.arange(len(labels)), labels]
    return (1.2 - right).sqrt().mean()


def _learns(model: nn.Module, inputs: Tensor, labels: Tensor) -> bool:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(1000):
        optimizer.zero_grad()
        _unknown(model(inputs), labels).backward()
        optimizer.step()
    return float((model(inputs).argmax(1) == labels).double().mean()) > 0.9


# -------------------------------------------------------------------- TRN005 dominance


class Penalized(nn.Module):
    """Features that a term of the loss keeps small."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 8)), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return self.head(features), features


def dominance() -> str:
    """What training gains from the inputs (TRN005's limit is 0.02), by the ratio of the gradients of the two terms of the loss."""
    found: dict[str, list[float]] = {"below 10": [], "10 to 100": [], "100 to 1000": [], "1000 to 10 000": [], "above 10 000": []}
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        scale = 10 ** random.Random(seed).uniform(-1, 2.5)
        inputs = torch.randn(32, 20)
        labels = (inputs @ torch.randn(20, 4)).argmax(1)

        def loss(out: tuple[Tensor, Tensor], given: Tensor, s: float = scale) -> Tensor:
            return functional.cross_entropy(out[0], given) + (s * out[1]).square().sum(1).mean()

        model = Penalized()
        fields = {"model": model, "inputs": inputs, "targets": labels, "loss": loss, "optimizer": torch.optim.Adam(model.parameters())}
        session = Session(coerce(fields, SetupOptions()), Plan(probes=("input-dependence",)))
        terms, seen = session.evidence("LossTerms"), session.evidence("InputDependence")
        session.close()
        ratio = max((terms.ratio(a, b) for a in terms.terms for b in terms.terms if a is not b), default=1.0)
        group = list(found)[sum(ratio >= limit for limit in (10, 100, 1000, 10_000))]
        found[group].append((seen.blind - seen.real) / max(abs(seen.initial), 1e-12))
    return markdown_table(("ratio of the gradients", "nets", "gained from the inputs: smallest", "median", "largest"), _spans(found))


PARTS: dict[str, Callable[[], str]] = {"updates": updates, "noise": noise, "progress": progress, "dominance": dominance}


if __name__ == "__main__":
    run_parts(__doc__, PARTS, "level")
