"""Does the model use its input? Two short trainings: on the real batch, and on one without the inputs' information."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnlint.finding import Skip
from nnlint.frames import is_fatal
from nnlint.probes.longer.effort import LongerProbe
from nnlint.probes.longer.forward_loss import loss_value
from nnlint.probes.longer.loop import OnStep, regularization_off, train, trainable
from nnlint.probes.torch_errors import one_line
from nnlint.samples import batch_axis, rolled, sample_count
from nnlint.seeding import seed_everything
from nnlint.setup.training_setup import LABEL_KEYS
from nnlint.tensors import map_tensors, tensor_leaves

if TYPE_CHECKING:
    from nnlint.guard.state_guard import StateGuard
    from nnlint.probes.longer.overfit import OverfitRun
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

_RATE = 1e-3
_FEWEST_SAMPLES = 8
#: Multiply-adds that the probe may spend, and its fewest and most steps.
_EFFORT = (1e10, 8, 100)


@dataclass(frozen=True)
class InputDependence:
    """Short trainings on the real inputs and on inputs without information.

    Attributes:
        initial: loss before training.
        real, blind: final losses on the real batch and with every sample's input replaced by the batch mean.
        trained, shuffled: loss of the model trained on the real batch, with the inputs in place and each at another sample
            (None where that was not tried).
        steps: steps of each run; 0 where the overfit probe fitted what no blind prediction can fit (`blind` is then the
            lowest loss of such a prediction).
    """

    initial: float
    real: float
    blind: float
    trained: float
    shuffled: float | None
    steps: int
    samples: int


def provide(session: Session) -> InputDependence:
    """Run the probe.

    Raises:
        Skip: not asked for, or it cannot run.
    """
    probe = LongerProbe(session, "InputDependence")
    known = _proven_dependence(session)
    if known is not None:
        return known
    steps = probe.steps(_EFFORT, runs=2)
    seed = session.plan.seed
    found: InputDependence = probe.run(
        lambda: run_input_dependence(session.setup, session.guard, seed=seed, steps=steps, on_step=probe.on_step)
    )
    return found


def _proven_dependence(session: Session) -> InputDependence | None:
    """What the overfit probe says already: a loss that no prediction that is blind to the input can have."""
    try:
        run: OverfitRun = session.evidence("OverfitRun")
    except Skip:
        return None
    if run.blind_loss is None or run.best_loss > 0.5 * run.blind_loss:
        return None
    return InputDependence(
        initial=run.initial_loss,
        real=run.best_loss,
        blind=run.blind_loss,
        trained=run.best_loss,
        shuffled=None,
        steps=0,
        samples=run.samples,
    )


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
        raise Skip(f"needs {_FEWEST_SAMPLES} samples, got {samples}")
    blind = _changed(setup, lambda tensor: _blinded(tensor, samples))
    if not _differ(setup.inputs, blind.inputs):
        raise Skip("all samples of the batch have the same input, or none that can be told apart")
    with _taken("the same input for all samples"):
        blind_losses = _short_run(blind, guard, seed, steps, on_step)
    real_losses = _short_run(setup, guard, seed, steps, on_step)
    shuffled = _changed(setup, lambda tensor: rolled(tensor, samples))
    with _taken("inputs of other samples (lengths that have to be sorted)"):
        moved = _loss_now(shuffled, seed) if _stays_something(setup, shuffled) else None
    return InputDependence(
        initial=real_losses[0],
        real=_settled(real_losses),
        blind=_settled(blind_losses),
        trained=_loss_now(setup, seed),
        shuffled=moved,
        steps=len(real_losses) - 1,
        samples=samples,
    )


@contextmanager
def _taken(what: str) -> Iterator[None]:
    """Skip where the model refuses a batch that nnlint made."""
    try:
        yield
    except Exception as error:
        if is_fatal(error) or isinstance(error, Skip):
            raise
        raise Skip(f"the model does not take {what}: {one_line(error)}") from error


def _stays_something(setup: TrainingSetup, shuffled: TrainingSetup) -> bool:
    """Whether targets, or labels among the inputs, stay in place: without them the shuffled batch is the same one in another order."""
    if setup.targets is not None:
        return True
    pairs = zip(tensor_leaves(setup.inputs), tensor_leaves(shuffled.inputs), strict=True)
    return any(before is after for (_, before), (_, after) in pairs)


def _changed(setup: TrainingSetup, change: Callable[[torch.Tensor], torch.Tensor]) -> TrainingSetup:
    """The setup with changed inputs; labels that travel among them stay with their samples."""
    inputs = setup.inputs
    if isinstance(inputs, Mapping):
        kept = {name: value for name, value in inputs.items() if name in LABEL_KEYS or "mask" in name}
        return setup.with_inputs({**{name: map_tensors(change, value) for name, value in inputs.items()}, **kept})
    return setup.with_inputs(map_tensors(change, inputs))


def _blinded(tensor: torch.Tensor, samples: int) -> torch.Tensor:
    axis = batch_axis(tensor, samples) if tensor.dim() and not tensor.is_nested else None
    if axis is None:
        return tensor
    if tensor.is_floating_point():
        return tensor.mean(dim=axis, keepdim=True).expand_as(tensor).clone()
    return tensor.narrow(axis, 0, 1).expand_as(tensor).clone()


def _differ(one: Any, other: Any) -> bool:
    pairs = zip(tensor_leaves(one), tensor_leaves(other), strict=True)
    return any(before is not after and not torch.equal(before, after) for (_, before), (_, after) in pairs)


def _short_run(setup: TrainingSetup, guard: StateGuard, seed: int, steps: int, on_step: OnStep | None) -> list[float]:
    guard.rewind()
    setup.model.train()
    seed_everything(seed)
    optimizer = torch.optim.Adam(trainable(setup.model), lr=_RATE)
    with regularization_off(setup.model, optimizer):
        return train(setup, optimizer, steps, on_step=on_step)


def _loss_now(setup: TrainingSetup, seed: int) -> float:
    seed_everything(seed)
    return loss_value(setup)


def _settled(losses: list[float]) -> float:
    """Mean of the last three losses: one alone is noisy."""
    tail = [loss for loss in losses[-3:] if math.isfinite(loss)]
    return sum(tail) / len(tail) if tail else math.inf
