"""Makers of pairs whose fault shows in a training: the training, longer than what a rule sees, decides which side a program is on."""

from __future__ import annotations

import copy
import math
import random
from statistics import quantiles
from typing import Any

import torch
from pair_programs import Fields, Pair, classification
from torch import nn

#: Updates that decide; the rules look at 20 at most.
_UPDATES = 60


def _train(fields: Fields, *, rate: float, momentum: float = 0.0, clip: float | None = None, updates: int = _UPDATES) -> Any:
    """A copy of the model after updates with SGD: the model, the losses and the norms of its gradient."""
    model = copy.deepcopy(fields["model"])
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
    losses, norms = [], []
    for _ in range(updates):
        optimizer.zero_grad()
        loss = fields["loss"](model(fields["inputs"]), fields["targets"])
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip if clip is not None else math.inf)))
        optimizer.step()
        losses.append(float(loss.detach()))
    return model, losses, norms


# -------------------------------------------------------------------- clipping


class Recurrent(nn.Module):
    """A recurrent net without gates whose recurrent matrix has a given gain."""

    def __init__(self, width: int, gain: float) -> None:
        super().__init__()
        self.rnn = nn.RNN(4, width, batch_first=True)
        self.head = nn.Linear(width, 1)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, gain=gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


def clipping(seed: int) -> Pair:
    """GRD005. Recurrent nets and rectifier nets without norms at drawn rates: faulty where clipping at the 90th percentile of the first
    20 norms, which is the advice, takes a fifth off the loss of the later updates; healthy where it takes nothing."""
    draw = random.Random(seed)
    rate = 10 ** draw.uniform(-2.0, -0.7)
    if draw.random() < 0.4:
        model: nn.Module = Recurrent(32, draw.uniform(1.0, 1.5))
        inputs = torch.randn(32, draw.choice((15, 30)), 4)
        targets = 5.0 * inputs[:, :, 0].mean(dim=1, keepdim=True)
    else:
        widths = [8, *[32] * draw.randint(3, 7)]
        layers = [part for pair in zip(widths, widths[1:], strict=False) for part in (nn.Linear(*pair), nn.ReLU())]
        for layer in layers[::2]:
            nn.init.kaiming_normal_(layer.weight)
        model, inputs = nn.Sequential(*layers, nn.Linear(32, 1)), torch.randn(32, 8)
        targets = 3.0 * inputs[:, :1] * inputs[:, 1:2]
    fields = {"model": model, "inputs": inputs, "targets": targets, "loss": nn.MSELoss()}
    _, losses, norms = _train(fields, rate=rate)
    if not all(map(math.isfinite, losses)):
        return
    _, clipped, _ = _train(fields, rate=rate, clip=quantiles(norms[:20], n=10, method="inclusive")[-1])
    late, late_clipped = (sum(values[10:]) / len(values[10:]) for values in (losses, clipped))
    fields["optimizer"] = torch.optim.SGD(model.parameters(), lr=rate)
    if late_clipped < 0.8 * late:
        yield True, fields
    elif late_clipped > 0.98 * late:
        yield False, fields


# -------------------------------------------------------------------- dying units


def _dead(model: nn.Sequential, inputs: torch.Tensor) -> float:
    """The largest share of a layer's units that no sample activates."""
    shares, x = [0.0], inputs
    for layer in model:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            shares.append(float((x == 0).all(0).float().mean()))
    return max(shares)


def dying_units(seed: int) -> Pair:
    """TRN004. Rectifier nets on inputs of one sign or none at drawn rates: faulty where most of a layer is dead after 60 updates, and
    a tenth of the rate does better."""
    draw = random.Random(seed)
    width, offset, rate = draw.choice((32, 64, 128)), draw.choice((0.0, 0.5, 1.5)), 10 ** draw.uniform(-3, -0.5)
    layers: list[nn.Module] = [nn.Linear(20, width), nn.ReLU()]
    for _ in range(draw.randint(0, 2)):
        layers += [nn.Linear(width, width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(width, 1))
    inputs = torch.rand(64, 20) - 0.5 + offset
    fields = {"model": model, "inputs": inputs, "targets": inputs[:, :1] * 3.0 - 2.0 * offset, "loss": nn.MSELoss()}
    after, losses, _ = _train(fields, rate=rate, momentum=0.9)
    slower = _train(fields, rate=rate / 10, momentum=0.9)[1]
    if not all(map(math.isfinite, losses)):
        return
    grown = _dead(after, inputs) - _dead(model, inputs)
    fields["optimizer"] = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    if grown > 0.5 and slower[-1] < 0.5 * losses[-1]:
        yield True, fields
    elif grown < 0.2:
        yield False, fields


# -------------------------------------------------------------------- trained weights


def _trained(seed: int, *, norm: bool, classes: int = 5, wide: int = 20) -> tuple[nn.Sequential, torch.Tensor, random.Random]:
    draw = random.Random(seed)
    width = draw.choice((64, 80, 96))
    layers: list[nn.Module] = []
    for position in range(draw.randint(4, 5)):
        layers += [nn.Linear(width if position else wide, width), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU()]
    model = nn.Sequential(*layers)
    model.add_module("head", nn.Linear(width, classes))
    labels = torch.arange(80) % classes
    inputs = torch.randn(80, wide) + 2.0 * torch.randn(classes, wide)[labels]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        # Noise keeps the loss from vanishing, so that weights move on as they do in a real training.
        nn.functional.cross_entropy(model(inputs + 0.5 * torch.randn_like(inputs)), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model, inputs, draw


def left_random(seed: int) -> Pair:
    """INI013. A trained net with one or two inner layers drawn again, and one with a new head, a new input layer, or none."""
    model, inputs, draw = _trained(seed, norm=False, classes=20, wide=40)
    other = copy.deepcopy(model)
    inner = [layer for layer in model if isinstance(layer, nn.Linear)][1:-1]
    for layer in draw.sample(inner, draw.randint(1, 2)):
        layer.reset_parameters()
    yield True, classification(model, inputs, 20)
    new = draw.choice(("head", "input", "none"))
    if new != "none":
        (other.head if new == "head" else other[0]).reset_parameters()
    yield False, classification(other, inputs, 20)


def stale_statistics(seed: int) -> Pair:
    """NRM011. A trained net with statistics reset, or of inputs in another scale: faulty where evaluation loses what training had."""
    model, inputs, draw = _trained(seed, norm=True)
    healthy = copy.deepcopy(model)
    norms = [layer for layer in model if isinstance(layer, nn.BatchNorm1d)]
    kind, factor = draw.choice(("reset", "scale", "shift")), draw.uniform(1.5, 4.0)
    for norm in norms:
        if kind == "reset":
            norm.reset_running_stats()
        elif kind == "scale":
            norm.running_mean.mul_(factor)
            norm.running_var.mul_(factor**2)
        else:
            norm.running_mean.add_(factor * norm.running_var.sqrt())
    labels = torch.arange(80) % 5
    for candidate in (model, healthy):
        with torch.no_grad():
            in_training = float(nn.functional.cross_entropy(copy.deepcopy(candidate).train()(inputs), labels))
            evaluated = float(nn.functional.cross_entropy(copy.deepcopy(candidate).eval()(inputs), labels))
        if evaluated > 2.0 * in_training + 0.05:
            yield True, classification(candidate, inputs, 5)
        elif evaluated < 1.2 * in_training + 0.02:
            yield False, classification(candidate, inputs, 5)


def frozen_head(seed: int) -> Pair:
    """INI014. A head of 16 to 96 weights, frozen after 30 to 150 updates of the whole net, and the same head drawn again and frozen."""
    draw = random.Random(seed)
    width, classes = draw.choice((8, 16, 24)), draw.choice((2, 4))
    labels = torch.arange(64) % classes
    inputs = torch.randn(64, 12) + 1.5 * torch.randn(classes, 12)[labels]
    body = nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    model = nn.Sequential(body, nn.Linear(width, classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(draw.choice((30, 60, 150))):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    for faulty in (False, True):
        made = copy.deepcopy(model)
        if faulty:
            made[1].reset_parameters()
        made[1].requires_grad_(requires_grad=False)
        yield faulty, classification(made, inputs, classes)


MAKERS = {
    "INI014": frozen_head,
    "GRD005": clipping,
    "TRN004": dying_units,
    "INI013": left_random,
    "NRM011": stale_statistics,
}
