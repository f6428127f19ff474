"""What batch norm and dropout do to small nets: the figures behind the limits of the normalization rules.

    python benchmarks/calibration/regularizers.py [--write]

Nets of fresh_weights.py and grid.py on their own data, a few hundred steps each. `--write` puts the tables into
docs/evidence/calibration.md.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(ROOT / "benchmarks" / "calibration")]

import grid  # noqa: E402
import torch  # noqa: E402
from fresh_weights import CLASSES, FEATURES, digits  # noqa: E402
from sections import put  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

SEEDS = 3
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def train(model: nn.Module, images: Tensor, labels: Tensor, steps: int, *, batch: int = 64) -> float:
    """Adam at 1e-3; the mean loss of the last tenth."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        chosen = torch.randint(0, len(images), (batch,))
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    kept = losses[-max(1, steps // 10) :]
    return sum(kept) / len(kept)


def drifts(model: nn.Module, batch: Tensor) -> tuple[float, float]:
    """Worst factor of mean squares and worst shift of the mean over the batch norms, as NRM011 takes them."""
    worst = [1.0, 0.0]

    def look(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, NORMS)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        square = float(norm.running_var.mean() + norm.running_mean.square().mean())
        power = float(given[0].square().mean()) / square
        shift = abs(float(given[0].mean() - norm.running_mean.mean())) / math.sqrt(float(norm.running_var.mean()))
        worst[0] = max(worst[0], power, 1 / power)
        worst[1] = max(worst[1], shift)

    norms = [module for module in model.modules() if isinstance(module, NORMS)]
    before = [(norm.running_mean.clone(), norm.running_var.clone(), norm) for norm in norms if norm.running_mean is not None and norm.running_var is not None]  # fmt: skip
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    model.train()
    with torch.no_grad():
        model(batch)
    for hook in hooks:
        hook.remove()
    for mean, variance, norm in before:
        norm.running_mean, norm.running_var = mean, variance
    return worst[0], worst[1]


def pictures(samples: int) -> tuple[Tensor, Tensor]:
    """Pictures of ten classes with a colour each, of different brightness and contrast."""
    labels = torch.randint(0, 10, (samples,))
    generator = torch.Generator().manual_seed(0)
    colours = torch.randn(10, 3, 4, 4, generator=generator)
    coarse = colours[labels] + torch.randn(samples, 3, 4, 4)
    images = functional.interpolate(coarse, size=32, mode="bilinear") * (0.5 + torch.rand(samples, 1, 1, 1))
    return images + 0.3 * torch.randn(samples, 1, 1, 1), labels


def running_statistics() -> str:
    """Running statistics against a new batch, of nets trained here."""
    lines = [
        "| net | steps | batch of 8 | batch of 64 | doubled | moved by 1 | 0 to 255 | not loaded (0 and 1) |",
        "|---|" + "---|" * 7,
    ]
    for net in ("CNN + BN", "ResNet"):
        for steps in (100, 500):
            cells: list[list[tuple[float, float]]] = [[] for _ in range(6)]
            for seed in range(SEEDS):
                torch.manual_seed(seed)
                images, labels = pictures(2048)
                model = grid.MODELS[net](8)["model"]
                train(model, images, labels, steps)
                for draw in range(10):
                    torch.manual_seed(1000 + draw)
                    small, large = pictures(8)[0], pictures(64)[0]
                    cells[0].append(drifts(model, small))
                    cells[1].append(drifts(model, large))
                for cell, batch in zip(cells[2:5], (2 * large, large + 1, 64 * (large + 2)), strict=True):
                    cell.append(drifts(model, batch))
                for norm in model.modules():
                    if isinstance(norm, NORMS):
                        norm.reset_running_stats()
                cells[5].append(drifts(model, large))
            healthy = [f"{max(p for p, _ in cell):.2f}, {max(s for _, s in cell):.2f}" for cell in cells[:2]]
            faulty = [f"{min(p for p, _ in cell):.3g}, {min(s for _, s in cell):.2f}" for cell in cells[2:]]
            lines.append(f"| {net} | {steps} | {' | '.join(healthy + faulty)} |")
    head = "Factor of the mean squares and shift of the mean, worst batch norm: the largest of 30 new batches (healthy) and the least of 3 nets (faulty):"  # fmt: skip
    return f"{head}\n\n" + "\n".join(lines)


def variance_shift() -> str:
    """Dropout above a batch norm: the variance it sees, and what evaluation makes of it."""
    lines = [
        "| p | variance ratio, Gaussian input | ReLU input | evaluation loss / loss with the batch's own statistics |",
        "|---|---|---|---|",
    ]
    for p in (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7):
        torch.manual_seed(0)
        x = torch.randn(4096, 256)
        ratios = [float((functional.dropout(v, p) @ w).var() / (v @ w).var()) for v in (x, x.relu()) for w in [torch.randn(256, 64)]]  # fmt: skip
        gaps = []
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            images, labels = digits(2000)
            layers = [
                nn.Linear(FEATURES, 128),
                nn.ReLU(),
                nn.Dropout(p),
                nn.Linear(128, 64),
                nn.BatchNorm1d(64),
                nn.ReLU(),
            ]
            model = nn.Sequential(*layers, nn.Linear(64, CLASSES))
            train(model, images, labels, 300)
            gaps.append(_evaluation(model, images, labels))
        lines.append(f"| {p:g} | {ratios[0]:.2f} | {ratios[1]:.2f} | {sorted(gaps)[SEEDS // 2]:.2f} |")
    return "\n".join(lines)


def _evaluation(model: nn.Sequential, images: Tensor, labels: Tensor) -> float:
    """Loss in evaluation mode over the loss with dropout off and the statistics of all samples."""
    model.eval()
    with torch.no_grad():
        seen = float(functional.cross_entropy(model(images), labels))
        for module in model:
            module.train(isinstance(module, nn.BatchNorm1d))
        own = float(functional.cross_entropy(model(images), labels))
    return seen / own


def norm_batch() -> str:
    """Noise of a batch norm over few values."""
    lines = [
        "| values of a channel | error of the outputs (1 is a standard deviation) | largest output |",
        "|---|---|---|",
    ]
    for values in (2, 3, 4, 8, 16, 32, 128):
        torch.manual_seed(0)
        x = torch.randn(4000, values)
        y = (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        lines.append(f"| {values} | {float((y - x).square().mean().sqrt()):.2f} | {float(y.abs().max()):.2f} |")
    return "\n".join(lines)


def extreme_dropout() -> str:
    """What a small net learns under more and more dropout."""
    lines = [
        "| p | training loss after 500 steps | evaluation loss | noise over signal, sqrt(p / (1 - p)) |",
        "|---|---|---|---|",
    ]
    for p in (0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95):
        reached = list(_dropped(p))
        train_loss, loss = (sorted(pair[index] for pair in reached)[SEEDS // 2] for index in (0, 1))
        lines.append(f"| {p:g} | {train_loss:.2f} | {loss:.2f} | {math.sqrt(p / (1 - p)):.1f} |")
    return (
        f"A net of two hidden layers of 64 units with dropout after each, median of {SEEDS} (chance: {math.log(CLASSES):.2f}):\n\n"
        + "\n".join(lines)
    )


def _dropped(p: float) -> Iterator[tuple[float, float]]:
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        images, labels = digits(2000)
        hidden = [nn.Linear(FEATURES, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(p)]
        model = nn.Sequential(*hidden, nn.Linear(64, CLASSES))
        train_loss = train(model, images, labels, 500)
        model.eval()
        with torch.no_grad():
            yield train_loss, float(functional.cross_entropy(model(images), labels))


SECTIONS: dict[str, Callable[[], str]] = {
    "running-statistics": running_statistics,
    "variance-shift": variance_shift,
    "norm-batch": norm_batch,
    "extreme-dropout": extreme_dropout,
}


def main() -> None:
    """Train, print, and with --write keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name, measure in SECTIONS.items():
        text = measure()
        kept = arguments.write and put(f"regularizers {name}", text)
        print(f"== {name}{' (written)' if kept else ''}\n{text}\n", flush=True)


if __name__ == "__main__":
    main()
