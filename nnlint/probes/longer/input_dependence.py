"""Two short trainings: without the inputs' information, and against validation data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from nnlint.capture.bindings import tensor_leaves
from nnlint.finding import Skip
from nnlint.guard.process import seed_everything
from nnlint.probes.dependence.outputs import batch_axis, map_tensors, rolled, sample_count
from nnlint.probes.longer.forward_loss import forward_loss
from nnlint.probes.longer.loop import OnStep, regularization_off, train, trainable, update
from nnlint.probes.longer.stats import InputDependence, ValidationGap
from nnlint.setup.batches import LABEL_KEYS

if TYPE_CHECKING:
    from nnlint.guard.state_guard import StateGuard
    from nnlint.setup.training_setup import TrainingSetup

_RATE = 1e-3
_FEWEST_SAMPLES = 8
CHECKPOINTS = 5

Pair = tuple[Any, Any]


def run_input_dependence(
    setup: TrainingSetup, guard: StateGuard, *, seed: int, steps: int, on_step: OnStep | None = None
) -> InputDependence:
    """Train a little on the real batch, and on one whose samples all carry the batch's mean input.

    The blind run can still learn the label frequencies and nothing else; a model that does as well there ignores its input
    (Karpathy's input-independent baseline). The caller holds the guard.

    Raises:
        Skip: fewer than 8 samples, or no input that can be blinded.
    """
    samples = sample_count(setup)
    if samples < _FEWEST_SAMPLES:
        raise Skip(f"input dependence needs {_FEWEST_SAMPLES} samples or more, the batch has {samples}")
    blind = _changed(setup, lambda tensor: _blinded(tensor, samples))
    if not _differ(setup.inputs, blind.inputs):
        raise Skip("all samples of the batch have the same input, or none that can be told apart")
    blind_losses = _short_run(blind, guard, seed, steps, on_step)
    real_losses = _short_run(setup, guard, seed, steps, on_step)
    shuffled = _changed(setup, lambda tensor: rolled(tensor, samples))
    return InputDependence(
        initial=real_losses[0],
        real=_settled(real_losses),
        blind=_settled(blind_losses),
        trained=_loss_now(setup, seed),
        shuffled=_loss_now(shuffled, seed),
        steps=len(real_losses) - 1,
        samples=samples,
    )


def _changed(setup: TrainingSetup, change: Callable[[torch.Tensor], torch.Tensor]) -> TrainingSetup:
    """The setup with changed inputs; labels that travel among them stay with their samples."""
    inputs = setup.inputs
    if isinstance(inputs, Mapping):
        kept = {name: value for name, value in inputs.items() if name in LABEL_KEYS or "mask" in name}
        return setup.with_inputs({**{name: map_tensors(value, change) for name, value in inputs.items()}, **kept})
    return setup.with_inputs(map_tensors(inputs, change))


def _blinded(tensor: torch.Tensor, samples: int) -> torch.Tensor:
    axis = batch_axis(tensor, samples) if tensor.dim() else None
    if axis is None:
        return tensor
    if tensor.is_floating_point():
        return tensor.mean(dim=axis, keepdim=True).expand_as(tensor).clone()
    return tensor.narrow(axis, 0, 1).expand_as(tensor).clone()


def _differ(one: Any, other: Any) -> bool:
    pairs = zip(tensor_leaves(one), tensor_leaves(other), strict=True)
    return any(not torch.equal(before, after) for (_, before), (_, after) in pairs)


def _short_run(setup: TrainingSetup, guard: StateGuard, seed: int, steps: int, on_step: OnStep | None) -> list[float]:
    guard.rewind()
    setup.model.train()
    seed_everything(seed)
    optimizer = torch.optim.Adam(trainable(setup.model), lr=_RATE)
    with regularization_off(setup.model, optimizer):
        return train(setup, optimizer, steps, on_step=on_step)


def _loss_now(setup: TrainingSetup, seed: int) -> float:
    seed_everything(seed)
    with torch.no_grad():
        return float(forward_loss(setup))


def _settled(losses: list[float]) -> float:
    """Mean of the last three losses: one alone is noisy."""
    tail = [loss for loss in losses[-3:] if math.isfinite(loss)]
    return sum(tail) / len(tail) if tail else math.inf


def run_validation_gap(
    setup: TrainingSetup,
    guard: StateGuard,
    training: Sequence[Pair],
    validation: Sequence[Pair],
    *,
    seed: int,
    steps: int,
    on_step: OnStep | None = None,
) -> ValidationGap:
    """Train shortly on the training data as configured, and again without dropout and weight decay where there is any.

    The losses of both kinds of data are taken in evaluation mode. The caller holds the guard.

    Args:
        setup: what is checked; without an optimizer Adam stands in.
        guard: rewound before each run.
        training: batches to train on, again and again.
        validation: batches to compare with.
        seed: of both runs.
        steps: of each run.
        on_step: called after each step.
    """
    regularized = _regularization(setup)
    each = max(steps // CHECKPOINTS, 1)

    def run(*, plain: bool) -> tuple[list[float], list[float]]:
        guard.rewind()
        seed_everything(seed)
        optimizer = setup.optimizer or torch.optim.Adam(trainable(setup.model), lr=_RATE)
        compared = training[: len(validation)]
        curves: tuple[list[float], list[float]] = ([], [])
        for checkpoint in range(CHECKPOINTS + 1):
            for curve, batches in zip(curves, (compared, validation), strict=True):
                curve.append(_evaluated(setup, batches))
            if checkpoint < CHECKPOINTS:
                setup.model.train()
                with regularization_off(setup.model, optimizer) if plain else nullcontext():
                    _train_on(setup, optimizer, training, range(checkpoint * each, (checkpoint + 1) * each), on_step)
        return curves

    plain = run(plain=True)[1] if regularized else []
    train_losses, validation_losses = run(plain=False)
    return ValidationGap(tuple(train_losses), tuple(validation_losses), each, regularized, tuple(plain))


def _train_on(
    setup: TrainingSetup,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Pair],
    numbers: range,
    on_step: OnStep | None,
) -> None:
    for number in numbers:
        inputs, targets = batches[number % len(batches)]
        current = setup.with_inputs(inputs, targets)
        optimizer.zero_grad(set_to_none=True)
        forward_loss(current).backward()
        update(optimizer, current)
        if on_step is not None:
            on_step()


def _evaluated(setup: TrainingSetup, batches: Sequence[Pair]) -> float:
    setup.model.eval()
    with torch.no_grad():
        losses = [float(forward_loss(setup.with_inputs(inputs, targets))) for inputs, targets in batches]
    return sum(losses) / len(losses)


def _regularization(setup: TrainingSetup) -> tuple[str, ...]:
    """What holds the training back from fitting, by name."""
    found = []
    if any("Dropout" in type(module).__name__ and getattr(module, "p", 0) > 0 for module in setup.model.modules()):
        found.append("dropout")
    if setup.optimizer is not None and any(group.get("weight_decay") for group in setup.optimizer.param_groups):
        found.append("weight decay")
    return tuple(found)
