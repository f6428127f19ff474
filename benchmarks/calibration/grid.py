"""Healthy models times ordinary optimizers: what no rule may accuse. Plain torch, seeded, small.

    python -m benchmarks.calibration.grid [--samples 32] [--seeds 1] [--profile default --profile deep]

Checks each of the 20 setups with every rule and prints what is said, the overfit probe's result and the number of false alarms
(findings at warning or above). Tables: docs/evidence/calibration.md#overfit.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from tabulate import tabulate
from torch import nn
from torch.nn import functional

import nnlint
from benchmarks.models import BasicBlock
from nnlint import Level

Fields = dict[str, Any]

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD .01 + .9": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    "SGD .1 + .9": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "Adam 1e-3": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
    "AdamW 3e-4": lambda parameters: torch.optim.AdamW(parameters, lr=3e-4),
}
#: Others that are in use, for the distributions of the steps and of the learning rates.
USUAL: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    **OPTIMIZERS,
    "SGD .01": lambda parameters: torch.optim.SGD(parameters, lr=0.01),
    "AdamW 1e-4": lambda parameters: torch.optim.AdamW(parameters, lr=1e-4),
    "Adam 3e-4": lambda parameters: torch.optim.Adam(parameters, lr=3e-4),
    "SGD .05 + .9, decay 5e-4": lambda parameters: torch.optim.SGD(
        parameters, lr=0.05, momentum=0.9, weight_decay=5e-4
    ),
    "AdamW 1e-3, decay .1": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1),
}


class SmallResNet(nn.Module):
    """Four residual blocks at two widths."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        blocks = [BasicBlock(16, 16, 1), BasicBlock(16, 32, 2), BasicBlock(32, 32, 1), BasicBlock(32, 64, 2)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))


class SequenceClassifier(nn.Module):
    """An LSTM over token embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 64)
        self.lstm = nn.LSTM(64, 128, batch_first=True)
        self.head = nn.Linear(128, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embed(tokens))[0][:, -1])


class TransformerClassifier(nn.Module):
    """Two encoder layers with learned positions and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 64)
        self.positions = nn.Parameter(0.02 * torch.randn(24, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.encoder(self.embed(tokens) + self.positions)).mean(dim=1))


class UNet(nn.Module):
    """Two scales, skip connection by concatenation, one logit for each pixel."""

    def __init__(self) -> None:
        super().__init__()

        def block(width_in: int, width: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(width_in, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            )  # fmt: skip

        self.down = block(1, 16)
        self.bottom = block(16, 32)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.merge = block(32, 16)
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.down(x)
        coarse = self.bottom(functional.max_pool2d(fine, 2))
        return self.head(self.merge(torch.cat([fine, self.up(coarse)], dim=1)))


def _images(samples: int, channels: int, size: int) -> torch.Tensor:
    """Smooth noise: something a convolution can see."""
    coarse = torch.randn(samples, channels, size // 4, size // 4)
    return functional.interpolate(coarse, size=size, mode="bilinear") + 0.3 * torch.randn(samples, channels, size, size)


def cnn(samples: int) -> Fields:
    """Three convolutions with batch norm."""
    layers: list[nn.Module] = []
    for width_in, width in ((3, 16), (16, 32), (32, 64)):
        layers += [
            nn.Conv2d(width_in, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 10))
    return {
        "model": model,
        "inputs": _images(samples, 3, 32),
        "targets": torch.arange(samples) % 10,
        "loss": nn.CrossEntropyLoss(),
    }


def resnet(samples: int) -> Fields:
    """A small ResNet."""
    return {
        "model": SmallResNet(),
        "inputs": _images(samples, 3, 32),
        "targets": torch.arange(samples) % 10,
        "loss": nn.CrossEntropyLoss(),
    }


def lstm(samples: int) -> Fields:
    """Sequences whose class is the most frequent quarter of the vocabulary."""
    tokens = torch.randint(0, 200, (samples, 24))
    targets = torch.arange(samples) % 4
    tokens[:, ::2] = 50 * targets[:, None] + torch.randint(0, 50, (samples, 12))
    return {"model": SequenceClassifier(), "inputs": tokens, "targets": targets, "loss": nn.CrossEntropyLoss()}


def transformer(samples: int) -> Fields:
    """The same sequences, an encoder."""
    return {**lstm(samples), "model": TransformerClassifier()}


def unet(samples: int) -> Fields:
    """Blobs to be segmented."""
    images = _images(samples, 1, 32)
    targets = (functional.avg_pool2d(images, 5, stride=1, padding=2) > 0.3).float()
    return {"model": UNet(), "inputs": images, "targets": targets, "loss": nn.BCEWithLogitsLoss()}


MODELS: dict[str, Callable[[int], Fields]] = {
    "CNN + BN": cnn,
    "ResNet": resnet,
    "LSTM": lstm,
    "Transformer": transformer,
    "U-Net": unet,
}


def with_adamw(fields: Fields) -> Fields:
    """The setup with an ordinary optimizer."""
    return {**fields, "optimizer": torch.optim.AdamW(fields["model"].parameters(), lr=1e-3)}


def setups(
    optimizers: dict[str, Callable[[Any], torch.optim.Optimizer]], *, samples: int = 32, seed: int = 0
) -> Iterator[tuple[str, str, Fields]]:
    """(model name, optimizer name, fields of the training setup), each built afresh."""
    for model_name, build in MODELS.items():
        for optimizer_name, make in optimizers.items():
            torch.manual_seed(seed)
            fields = build(samples)
            yield model_name, optimizer_name, {**fields, "optimizer": make(fields["model"].parameters())}


def reached(report: nnlint.Report) -> str:
    """The overfit probe in a few words."""
    run = report.results[0].measurements["overfit"]
    if "skipped" in run:
        return f"skipped: {run['skipped']}"
    if run["verdict"] == "fit":
        return f"fit in {run['steps_to_fit']}"
    return f"{run['verdict']}: {run['initial_loss']:.3g} to {run['best_loss']:.3g} in {run['steps']}"


def check_grid(profile: str, samples: int, seeds: int) -> None:
    """Check every setup in one profile and print the table."""
    cells: dict[str, dict[str, str]] = {name: {} for name in MODELS}
    alarms = runs = 0
    for seed in range(seeds):
        for model, optimizer, fields in setups(OPTIMIZERS, samples=samples, seed=seed):
            start = time.perf_counter()
            report = nnlint.check(fields, deep=profile == "deep", seed=seed)
            runs += 1
            alarms += any(found.level.at_least(Level.WARNING) for found in report.findings)
            said = ", ".join(f"{found.level.value} {found.code}" for found in report.findings)
            shown = [said or "nothing", *([reached(report)] if profile == "deep" else [])]
            cells[model][optimizer] = "; ".join(shown)
            for found in report.findings:
                print(f"{model}, {optimizer}, seed {seed}: {found.level.value} {found.code} {found.message}")
            print(f"{model}, {optimizer}, seed {seed}: {cells[model][optimizer]} ", end="")
            print(f"({time.perf_counter() - start:.0f} s)", flush=True)
    rows = [[model, *(by_optimizer.get(name, "") for name in OPTIMIZERS)] for model, by_optimizer in cells.items()]
    print(tabulate(rows, headers=[f"{profile}, {samples} samples, last seed", *OPTIMIZERS], tablefmt="github"))
    print(f"{profile}, {samples} samples: false alarms in {alarms} of {runs} runs", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--profile", action="append", choices=["default", "deep"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for profile in options.profile or ("default", "deep"):
        check_grid(profile, options.samples, options.seeds)


if __name__ == "__main__":
    main()
