"""Makers of pairs whose fault is a setting: an eps, a decay, a schedule; where it can be trained, the training decides."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterable
from typing import Any

import torch
from pair_programs import Fields, Pair, classification
from torch import nn
from torch.optim import lr_scheduler

Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def problem(draw: random.Random) -> Fields:
    """Labels or numbers to be learned, by a linear model or a net with one or two hidden layers."""
    hidden = draw.choice(((), (32,), (64, 64)))
    widths = [20, *hidden]
    layers = [part for pair in zip(widths, widths[1:], strict=False) for part in (nn.Linear(*pair), nn.ReLU())]
    inputs = torch.randn(64, 20)
    if draw.random() < 0.5:
        labels = (inputs[:, :4].argmax(1)) % 4
        return {"model": nn.Sequential(*layers, nn.Linear(widths[-1], 4)), "inputs": inputs, "targets": labels, "loss": nn.CrossEntropyLoss()}
    targets = inputs[:, :1] + inputs[:, 1:2] ** 2
    return {"model": nn.Sequential(*layers, nn.Linear(widths[-1], 1)), "inputs": inputs, "targets": targets, "loss": nn.MSELoss()}


def reduction(fields: Fields, make: Make, updates: int) -> float:
    """By how much the loss falls in so many updates; not a number where it is not finite."""
    model = copy.deepcopy(fields["model"])
    optimizer = make(model.parameters())
    losses = []
    for _ in range(updates):
        optimizer.zero_grad()
        loss = fields["loss"](model(fields["inputs"]), fields["targets"])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[0] - losses[-1]


def _judged(fields: Fields, given: Make, better: Make, *, faulty: float, healthy: float, updates: int = 300) -> Pair:
    """Faulty where the given setting reaches less than this share of the reduction of the better one, healthy where it reaches that much."""
    share = reduction(fields, given, updates) / max(reduction(fields, better, updates), 1e-9)
    fields["optimizer"] = given(fields["model"].parameters())
    if math.isfinite(share) and share < faulty:
        yield True, fields
    elif share > healthy:
        yield False, fields


def epsilon(seed: int) -> Pair:
    """OPT008. An eps of 0.001 to 1000 times the gradients: faulty where it costs half of what 100 updates reach, healthy below a tenth."""
    draw = random.Random(seed)
    fields = problem(draw)
    model = copy.deepcopy(fields["model"])
    fields["loss"](model(fields["inputs"]), fields["targets"]).backward()
    size = float(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).square().mean().sqrt())
    eps, rate = size * 10 ** draw.uniform(-3, 3), draw.choice((1e-3, 3e-3))

    def given(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=rate, eps=eps)

    def better(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=rate)

    yield from _judged(fields, given, better, faulty=0.5, healthy=0.9, updates=100)


def decay(seed: int) -> Pair:
    """OPT009. A decay of 3e-4 to 6 that is added to the gradient: faulty where it costs a third of what 300 updates reach."""
    draw = random.Random(seed)
    fields, strength = problem(draw), 10 ** draw.uniform(-3.5, 0.8)
    rate, adam = draw.choice((1e-3, 3e-3)), draw.random() < 0.6

    def made(parameters: Any, weight_decay: float) -> torch.optim.Optimizer:
        if adam:
            return torch.optim.Adam(parameters, lr=rate, weight_decay=weight_decay)
        return torch.optim.SGD(parameters, lr=30 * rate, momentum=0.9, weight_decay=weight_decay)

    yield from _judged(fields, lambda p: made(p, strength), lambda p: made(p, 0.0), faulty=0.67, healthy=0.95)


def schedule(seed: int) -> Pair:
    """OPT012. Lengths in epochs of a schedule that is stepped at every update, and lengths in updates: milestones, decays, cosines."""
    draw = random.Random(seed)
    epochs, each = draw.choice((10, 30, 60, 90)), draw.choice((50, 200, 400))
    kind = draw.choice(("milestones", "steps", "exponential", "cosine", "warmup"))
    for faulty in (True, False):
        fields = classification(nn.Linear(8, 4), torch.randn(16, 8), 4)
        optimizer, unit = fields["optimizer"], 1 if faulty else each
        made = {
            "milestones": lambda o=optimizer, u=unit: lr_scheduler.MultiStepLR(o, [u * epochs * part // 10 for part in (5, 8)], 0.1),
            "steps": lambda o=optimizer, u=unit: lr_scheduler.StepLR(o, max(1, u * epochs // 3), 0.1),
            "exponential": lambda o=optimizer, u=unit: lr_scheduler.ExponentialLR(o, 0.05 ** (1 / (u * epochs))),
            "cosine": lambda o=optimizer, u=unit: lr_scheduler.CosineAnnealingLR(o, u * epochs),
            "warmup": lambda o=optimizer: lr_scheduler.LinearLR(o, 0.1, total_iters=each * draw.choice((1, 2, 5))),
        }[kind]()
        if kind == "warmup" and faulty:
            continue  # a warm-up in updates is right either way
        yield faulty, {**fields, "scheduler": made, "planned_steps": epochs * each, "interval": "step"}


MAKERS = {"OPT008": epsilon, "OPT009": decay, "OPT012": schedule}
