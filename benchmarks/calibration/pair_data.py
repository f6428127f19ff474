"""Makers of pairs whose fault is between the data and the model: inputs that are normalized twice, the head of another task."""

from __future__ import annotations

import random

import torch
from pair_programs import Pair, classification
from torch import Tensor, nn
from torch.nn import functional


class Normalizing(nn.Module):
    """A convolutional net that normalizes its pictures by constants first, in one of two ways."""

    def __init__(self, mean: float, std: float, *, style: str) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), mean))
        self.register_buffer("std", torch.full((1, 3, 1, 1), std))
        self.style = style
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        if self.style == "divide":
            return self.body((x - self.mean) / self.std)
        return self.body(x * (1 / self.std) - self.mean / self.std)


def _pictures(draw: random.Random, count: int) -> Tensor:
    """Smooth pictures in [0, 1] with a deviation of 0.18 to 0.32, as photographs have."""
    coarse = torch.randn(count, 3, 4, 4)
    smooth = functional.interpolate(coarse, size=(24, 24), mode="bilinear") + 0.2 * torch.randn(count, 3, 24, 24)
    return (draw.uniform(0.35, 0.55) + draw.uniform(0.2, 0.4) * smooth).clamp(0, 1)


def normalized(seed: int) -> Pair:
    """DAT001. Pictures that are standardized before a model that normalizes them by the same constants, and pictures as they are."""
    draw = random.Random(seed)
    pictures = _pictures(draw, 16)
    mean, std = float(pictures.mean()) + draw.uniform(-0.05, 0.05), float(pictures.std()) * draw.uniform(0.85, 1.2)
    for faulty in (True, False):
        kind = "constants" if faulty else draw.choice(("constants", "centred", "halves"))
        model = Normalizing(mean, std, style=draw.choice(("divide", "multiply")))
        inputs = (pictures - mean) / std if faulty else pictures
        if kind == "centred":  # standardized data, mapped by a factor between the usual ranges
            model = Normalizing(draw.choice((0.0, 0.5)), draw.choice((0.5, 2.0)), style="divide")
            inputs = (pictures - mean) / std
        elif kind == "halves":
            model = Normalizing(0.5, 0.5, style="divide")
        yield faulty, classification(model, inputs, 4)


def another_head(seed: int) -> Pair:
    """LOS010. A head of 200 to 2000 logits on 2 to 20 classes, and on labels drawn from all of them, evenly or as words are."""
    draw = random.Random(seed)
    logits, batch = draw.choice((200, 500, 1000, 2000)), draw.choice((16, 24, 32, 64, 128, 300))
    classes = draw.randint(2, 20)
    frequency = (1.0 / torch.arange(1, logits + 1)) ** draw.choice((0.0, 0.5, 1.0))
    for faulty in (True, False):
        labels = torch.randint(0, classes, (batch,)) if faulty else torch.multinomial(frequency, batch, replacement=True)
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, logits))
        yield faulty, {**classification(model, torch.randn(batch, 20), logits), "targets": labels}


MAKERS = {"DAT001": normalized, "LOS010": another_head}
