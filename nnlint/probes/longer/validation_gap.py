"""Does training help on other data? A short training on the training data, watched on validation data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnlint.finding import Skip
from nnlint.probes.given.batch import failed_reading, read_pairs
from nnlint.probes.longer.effort import LongerProbe
from nnlint.probes.longer.forward_loss import forward_loss, loss_value
from nnlint.probes.longer.loop import OnStep, regularization_off, trainable, update
from nnlint.seeding import seed_everything

if TYPE_CHECKING:
    from nnlint.guard.state_guard import StateGuard
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

_RATE = 1e-3
CHECKPOINTS = 5
#: Multiply-adds that the probe may spend, and its fewest and most steps.
_EFFORT = (1e10, 10, 60)
_TRAINING_BATCHES = 8
_VALIDATION_BATCHES = 2

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class ValidationGap:
    """A short training with validation data; all losses in evaluation mode.

    Attributes:
        train, validation: losses before the run and at its checkpoints.
        steps: training steps between checkpoints.
        regularized: what regularization the setup has ("dropout", "weight decay").
        plain_validation: validation losses of the same run without that regularization; empty where there is none.
    """

    train: tuple[float, ...]
    validation: tuple[float, ...]
    steps: int
    regularized: tuple[str, ...]
    plain_validation: tuple[float, ...] = ()


def provide(session: Session) -> ValidationGap:
    """Run the probe on the validation data of the setup.

    Raises:
        Skip: not asked for, no validation data, or it cannot run.
    """
    probe = LongerProbe(session, "ValidationGap")
    setup = session.setup
    failed = failed_reading(session)
    validation = read_pairs("val_data", _VALIDATION_BATCHES, setup, failed)
    if not validation:
        raise Skip("no validation data given" if setup.val_data is None else "the validation data cannot be read again")
    training = read_pairs("data", _TRAINING_BATCHES, setup, failed) or [(setup.inputs, setup.targets)]
    steps = probe.steps(_EFFORT)
    seed = session.plan.seed
    found: ValidationGap = probe.run(
        lambda: run_validation_gap(
            setup,
            session.guard,
            training,
            validation,
            seed=seed,
            steps=steps,
            drops=_drops(session),
            on_step=probe.on_step,
        )
    )
    return found


def run_validation_gap(
    setup: TrainingSetup,
    guard: StateGuard,
    training: Sequence[Pair],
    validation: Sequence[Pair],
    *,
    seed: int,
    steps: int,
    drops: bool,
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
        drops: whether the training forward has dropout.
        on_step: called after each step.
    """
    regularized = _regularization(setup, drops=drops)
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
    losses = [loss_value(setup.with_inputs(inputs, targets)) for inputs, targets in batches]
    return sum(losses) / len(losses)


def _drops(session: Session) -> bool:
    """Whether the training forward drops anything: a layer, or a call of the function."""
    graph = session.training_pass.graph
    calls = graph.calls("dropout") if graph is not None else ()
    return any(op.argument("p", 0.5) and op.argument("training") is not False for op in calls)


def _regularization(setup: TrainingSetup, *, drops: bool) -> tuple[str, ...]:
    """What holds the training back from fitting, by name."""
    found = []
    if drops:
        found.append("dropout")
    if setup.optimizer is not None and any(group.get("weight_decay") for group in setup.optimizer.param_groups):
        found.append("weight decay")
    return tuple(found)
