"""Calibrates the decision "fresh or trained": untouched public models, odd initializations, and nets trained here.

    python benchmarks/calibration/fresh_weights.py [--each 14] [--write]

With `--write` the table replaces the section "Fresh weights" of
docs/evidence/calibration.md.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules")]

from benchmarks import zoo  # noqa: E402
from benchmarks.calibration.sections import put_section  # noqa: E402
from benchmarks.zoo.listed import is_listed  # noqa: E402
from nnlint.probes.given.parameters import Parameters  # noqa: E402

HEADING = "## Fresh weights"
STEPS = (100, 300, 1000)
FEATURES, CLASSES = 64, 10


@dataclass(frozen=True)
class Row:
    """One model and what was decided about it."""

    group: str
    name: str
    expected: bool
    known: int
    total: int
    norms: str
    biases: str
    fresh: bool
    unknown: tuple[str, ...]


def judge(group: str, name: str, model: nn.Module, *, expected: bool) -> Row:
    parameters = Parameters(model)
    known, total = parameters.known_weights
    norms, biases = parameters.known_norms, parameters.known_biases
    unknown = tuple(view.label for view in parameters.of_kind("weight", "recurrent", "embedding") if view.init is None)
    return Row(
        group,
        name,
        expected,
        known,
        total,
        f"{norms[0]}/{norms[1]}",
        f"{biases[0]}/{biases[1]}",
        parameters.fresh,
        unknown,
    )


def public(each: int) -> Iterator[Row]:
    """Models of the calibration half of the zoo, evenly spread, untouched."""
    for library in zoo.LIBRARIES:
        found = [pair for pair in zoo.zoo((library,)) if library == "nn" or is_listed(pair[0])]
        for name, build in found[:: max(1, len(found) // each)]:
            try:
                model = build()[0]
            except Exception as error:
                print(f"{name}: not built ({type(error).__name__})", file=sys.stderr)
                continue
            yield judge(library, name, model, expected=True)


def mlp(activation: Callable[[], nn.Module] = nn.ReLU, width: int = 64) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan in (FEATURES, width, width):
        layers += [nn.Linear(fan, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


def cnn(*, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    for fan, width in ((1, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(fan, width, 3, padding=1, bias=not norm)]
        layers += [nn.BatchNorm2d(width)] if norm else []
        layers += [nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 64, CLASSES))


class Recurrent(nn.Module):
    """The eight rows of the picture as a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 48, batch_first=True)
        self.head = nn.Linear(48, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x.view(-1, 8, 8))[0][:, -1])


class Attention(nn.Module):
    """A small transformer over the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Linear(8, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.lift(x.view(-1, 8, 8))).mean(1))


def weights(model: nn.Module) -> Iterator[torch.Tensor]:
    return (parameter for parameter in model.parameters() if parameter.dim() > 1)


def initialized(model: nn.Module, fill: Callable[[torch.Tensor], object]) -> nn.Module:
    with torch.no_grad():
        for weight in weights(model):
            fill(weight)
    return model


FILLS: dict[str, Callable[[torch.Tensor], object]] = {
    "N(0, 1)": nn.init.normal_,
    "N(0, 1e-6)": lambda w: nn.init.normal_(w, 0.0, 1e-6),
    "N(0, 100)": lambda w: nn.init.normal_(w, 0.0, 100.0),
    "U(-1, 1)": lambda w: nn.init.uniform_(w, -1.0, 1.0),
    "kaiming normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "xavier uniform": nn.init.xavier_uniform_,
    "truncated normal 0.02": lambda w: nn.init.trunc_normal_(w, std=0.02),
    "truncated normal 1": nn.init.trunc_normal_,
    "orthogonal": nn.init.orthogonal_,
    "torch.rand": nn.init.uniform_,
    "zeros": nn.init.zeros_,
    "filled with 100": lambda w: nn.init.constant_(w, 100.0),
    "eye": lambda w: nn.init.eye_(w) if w.dim() == 2 else nn.init.dirac_(w),
}


def odd() -> Iterator[Row]:
    """Untouched models that are initialized well, badly or absurdly."""
    for (name, fill), seed in itertools.product(FILLS.items(), range(5)):
        torch.manual_seed(seed)
        yield judge("odd", f"mlp, {name}, seed {seed}", initialized(mlp(), fill), expected=True)
        yield judge("odd", f"cnn, {name}, seed {seed}", initialized(cnn(norm=True), fill), expected=True)
    for seed in range(20):
        torch.manual_seed(seed)
        yield judge("odd", f"LSTM, default, seed {seed}", Recurrent(), expected=True)
        yield judge("odd", f"attention, default, seed {seed}", Attention(), expected=True)
        yield judge(
            "odd", f"tiny mlp 2-8-1, seed {seed}", nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 1)), expected=True
        )
        gan = cnn(norm=True)
        for norm in (module for module in gan if isinstance(module, nn.BatchNorm2d)):
            nn.init.normal_(norm.weight, 1.0, 0.02)
        yield judge("odd", f"cnn, batch norm N(1, 0.02), seed {seed}", gan, expected=True)


def digits(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten smooth 8 x 8 patterns, shifted, scaled and blurred by noise: learnable, not separable at once."""
    generator = torch.Generator().manual_seed(0)
    low = torch.randn(CLASSES, 1, 3, 3, generator=generator)
    patterns = nn.functional.interpolate(low, size=(10, 10), mode="bicubic").squeeze(1)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    moves = torch.randint(0, 3, (count, 2), generator=generator).tolist()
    images = torch.stack(
        [patterns[label, dy : dy + 8, dx : dx + 8] for label, (dy, dx) in zip(labels.tolist(), moves, strict=True)]
    )
    return (images + 0.5 * torch.randn(images.shape, generator=generator)).flatten(1), labels


def kaiming(model: nn.Module) -> nn.Module:
    return initialized(model, FILLS["kaiming normal"])


NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp": mlp,
    "mlp 256": lambda: mlp(width=256),
    "mlp tanh": lambda: mlp(nn.Tanh),
    "mlp kaiming": lambda: kaiming(mlp()),
    "cnn": lambda: cnn(norm=False),
    "cnn kaiming": lambda: kaiming(cnn(norm=False)),
    "cnn batch norm": lambda: cnn(norm=True),
    "cnn batch norm kaiming": lambda: kaiming(cnn(norm=True)),
    "LSTM": Recurrent,
    "attention": Attention,
}
OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "Adam 1e-3": lambda model: torch.optim.Adam(model.parameters(), lr=1e-3),
    "AdamW 3e-4": lambda model: torch.optim.AdamW(model.parameters(), lr=3e-4),
    "SGD 0.05": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
}


def trained() -> Iterator[Row]:
    """Small nets, judged as training goes on."""
    images, labels = digits(2000)
    for (net, build), (rate, make) in itertools.product(NETS.items(), OPTIMIZERS.items()):
        torch.manual_seed(0)
        model = build()
        optimizer = make(model)
        for step in range(1, max(STEPS) + 1):
            chosen = torch.randint(0, len(images), (64,))
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()
            if step in STEPS:
                if not math.isfinite(loss.item()):
                    raise RuntimeError(f"{net} with {rate} diverged: it says nothing about trained weights")
                yield judge(f"trained {step}", f"{net}, {rate}", model, expected=False)


def table(rows: list[Row]) -> str:
    lines = [
        "| models | count | judged fresh | smallest / median / largest share of known weight tensors |",
        "|---|---|---|---|",
    ]
    for group in dict.fromkeys(row.group for row in rows):
        found = [row for row in rows if row.group == group]
        shares = sorted(row.known / row.total if row.total else 1.0 for row in found)
        spread = f"{shares[0]:.2f} / {shares[len(shares) // 2]:.2f} / {shares[-1]:.2f}"
        lines.append(f"| {group} | {len(found)} | {sum(row.fresh for row in found)} | {spread} |")
    return "\n".join(lines)


TEXT = """
Rules about initialization are silent on models whose weights were trained or loaded: `Parameters.fresh`. A model is
fresh when at least 80 % each of its weight tensors, normalization tensors and biases are consistent with a known
initialization. Weights: constant, identity, orthogonal, or independent uniform, normal or truncated-normal draws at any
scale. Normalization: constant or N(1, 0.02). Biases: constant, within torch's default bound, or drawn like the weight.
Limits: five standard errors, or what thousands of simulated draws stay below (`init_families.py`).

`nn`, `torchvision`, `timm`, `hf` and `pyg` are untouched public models; `odd` are nets initialized well, badly and
absurdly; `trained N` are nets of ten kinds under three optimizers after N steps (`benchmarks/calibration/fresh_weights.py`).
"""


def page(rows: list[Row]) -> str:
    wrong = [row for row in rows if row.fresh != row.expected]
    listed = [
        f"- {row.group}: {row.name} ({row.known}/{row.total} weights, {row.norms} norms, {row.biases} biases)"
        for row in wrong
    ]
    return "\n".join([HEADING, TEXT, table(rows), "", f"Judged wrongly: {len(wrong)} of {len(rows)}.", "", *listed, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=14, help="public models of each library; 0: only nets built here are judged")
    parser.add_argument("--write", action="store_true", help="put the table into docs/evidence/calibration.md")
    parser.add_argument("--unknown", action="store_true", help="name the tensors that match no initialization")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows: list[Row] = []
    for row in itertools.chain(public(options.each) if options.each else (), odd(), trained()):
        rows.append(row)
        if options.unknown and row.expected and row.unknown:
            print(
                f"{row.group} {row.name}: {row.known}/{row.total}, norms {row.norms}, biases {row.biases}: {', '.join(row.unknown[:8])}"
            )
    section = page(rows)
    if options.write:
        put_section(HEADING, section)
    print(section)


if __name__ == "__main__":
    main()
