"""Two short trainings: without the inputs' information, and against validation data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from nnlint.finding import Skip
from nnlint.probes.causes import one_line
from nnlint.probes.deep_stats import InputDependence, ValidationGap
from nnlint.probes.guard_process import seed_everything
from nnlint.probes.light_pass import forward_loss
from nnlint.probes.outputs import batch_axis, map_tensors, sample_count
from nnlint.probes.training import NoDropout, train, trainable

if TYPE_CHECKING:
    from nnlint.probes.guard import StateGuard
    from nnlint.setup.training_setup import TrainingSetup

_RATE = 1e-3
_BLIND_STEPS = 30
_GAP_STEPS = 8
_GAP_CHECKPOINTS = 5


def run_input_dependence(
    setup: TrainingSetup, guard: StateGuard, *, seed: int, on_step: Callable[[], None]
) -> InputDependence:
    """Train a little on the real batch, and on one whose samples all carry the batch's mean input.

    The blind run can still learn the label frequencies and nothing else; a model that does as well there ignores its input
    (Karpathy's input-independent baseline). The caller holds the guard.

    Raises:
        Skip: fewer than 8 samples, or no input that can be blinded.
    """
    samples = sample_count(setup)
    if samples < 8:
        raise Skip(f"input dependence needs 8 samples or more, the batch has {samples}")
    blind = setup.with_inputs(map_tensors(setup.inputs, lambda tensor: _blinded(tensor, samples)))
    real_losses = _short_run(setup, guard, seed, on_step)
    blind_losses = _short_run(blind, guard, seed, on_step)
    return InputDependence(
        initial=real_losses[0],
        real=_settled(real_losses),
        blind=_settled(blind_losses),
        steps=len(real_losses) - 1,
        samples=samples,
    )


def _blinded(tensor: torch.Tensor, samples: int) -> torch.Tensor:
    axis = batch_axis(tensor, samples) if tensor.dim() else None
    if axis is None:
        return tensor
    if tensor.is_floating_point():
        return tensor.mean(dim=axis, keepdim=True).expand_as(tensor).clone()
    return tensor.narrow(axis, 0, 1).expand_as(tensor).clone()


def _short_run(setup: TrainingSetup, guard: StateGuard, seed: int, on_step: Callable[[], None]) -> list[float]:
    guard.rewind()
    setup.model.train()
    seed_everything(seed)
    optimizer = torch.optim.Adam(trainable(setup.model), lr=_RATE)
    with NoDropout():
        return train(setup, optimizer, _BLIND_STEPS, before_step=lambda _: on_step())


def _settled(losses: list[float]) -> float:
    """Mean of the last three losses: one alone is noisy."""
    tail = [loss for loss in losses[-3:] if math.isfinite(loss)]
    return sum(tail) / len(tail) if tail else math.inf


def run_validation_gap(
    setup: TrainingSetup,
    guard: StateGuard,
    batches: Iterable[tuple[Any, Any]],
    validation: list[tuple[Any, Any]],
    *,
    seed: int,
    on_step: Callable[[], None],
) -> ValidationGap:
    """Train shortly on the training data, comparing training and validation loss at checkpoints; the caller holds the guard.

    Raises:
        Skip: there is no validation data, or a step raised.
    """
    if not validation:
        raise Skip("no validation data given")
    guard.rewind()
    setup.model.train()
    seed_everything(seed)
    optimizer = setup.optimizer or torch.optim.Adam(trainable(setup.model), lr=_RATE)
    training = list(batches) or [(setup.inputs, setup.targets)]
    train_losses, validation_losses = [], []
    try:
        for checkpoint in range(_GAP_CHECKPOINTS):
            running = 0.0
            for number in range(_GAP_STEPS):
                inputs, targets = training[(checkpoint * _GAP_STEPS + number) % len(training)]
                optimizer.zero_grad(set_to_none=True)
                loss = forward_loss(setup.with_inputs(inputs, targets))
                loss.backward()
                optimizer.step()
                running += float(loss.detach())
                on_step()
            train_losses.append(running / _GAP_STEPS)
            validation_losses.append(_validation_loss(setup, validation))
    except Skip:
        raise
    except Exception as error:
        raise Skip(f"the short training raised {one_line(error)}") from error
    return ValidationGap(tuple(train_losses), tuple(validation_losses), _GAP_STEPS, _regularization(setup))


def _validation_loss(setup: TrainingSetup, validation: list[tuple[Any, Any]]) -> float:
    setup.model.eval()
    with torch.no_grad():
        losses = [float(forward_loss(setup.with_inputs(inputs, targets))) for inputs, targets in validation]
    setup.model.train()
    return sum(losses) / len(losses)


def _regularization(setup: TrainingSetup) -> tuple[str, ...]:
    found = []
    if any(
        type(module).__name__.startswith("Dropout") and getattr(module, "p", 0) > 0 for module in setup.model.modules()
    ):
        found.append("dropout")
    if setup.optimizer is not None and any(group.get("weight_decay") for group in setup.optimizer.param_groups):
        found.append("weight decay")
    if any("BatchNorm" in type(module).__name__ for module in setup.model.modules()):
        found.append("batch norm")
    return tuple(found)
