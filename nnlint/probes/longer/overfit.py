"""Can the model learn at all? Overfit a small fixed batch, regularization off, over a ladder of learning rates.

A neutral Adam climbs the ladder whatever optimizer the user has, so that no verdict depends on the user's optimizer being the probe's
favourite; the user's own optimizer gets a rung where the ladder did not fit. Protocol: Karpathy's recipe ("overfit one batch", as few
as two examples), calibrated in docs/evidence/calibration.md#overfit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nnlint.finding import OutOfBudget, Skip
from nnlint.probes.longer.effort import LongerProbe
from nnlint.probes.longer.forward_loss import loss_value
from nnlint.probes.longer.known_losses import (
    blind_floor,
    chance_loss,
    known_plateau,
    limits,
    loss_floor,
    single_call,
    targets_of,
)
from nnlint.probes.longer.loop import OnStep, regularization_off, small_batch, train, trainable
from nnlint.samples import sample_count
from nnlint.seeding import seed_everything

if TYPE_CHECKING:
    from nnlint.guard.state_guard import StateGuard
    from nnlint.probes.session import Session
    from nnlint.probes.training_pass.losses import LossCalls
    from nnlint.setup.training_setup import TrainingSetup

SAMPLES = 8
LADDER = (1e-3, 3e-4, 3e-3, 1e-4)
_FIT = 0.1  # of the reachable improvement that may be left
_STUCK = 0.5  # of it that must be left for a plateau
_SAME = 0.02  # of it: closer losses are the same
_RANDOM = 0.01  # relative difference of the loss from seed to seed
#: Steps of a rung from which a flat curve is a plateau even where it never fell: nets may start slowly.
_LONG = 60
#: The user's optimizer gets a rung of its own where there are this many steps in all.
_OWN_RUNG = 200
#: Multiply-adds that the probe may spend, and its fewest and most steps. The fewest of all probes add up to less than 150 with
#: the default profile, and with the 20 more of the rates where one near the configured rate seems to diverge: that is what a
#: ResNet-18 gets. A net of a few thousand weights makes the most (docs/evidence/calibration.md#effort).
_EFFORT = (4e10, 60, 1000)


@dataclass(frozen=True)
class Rung:
    """One learning rate of the overfit ladder.

    Attributes:
        optimizer: whose updates they were: "Adam" (the neutral one) or the user's class name.
        learning_rate: None for the user's own parameter groups.
        losses: loss before each step, and after the last.
        is_flat: the last third of the curve has stopped falling.
    """

    optimizer: str
    learning_rate: float | None
    losses: tuple[float, ...]
    is_flat: bool

    @property
    def best(self) -> float:
        """Lowest finite loss."""
        return min((loss for loss in self.losses if math.isfinite(loss)), default=math.inf)

    @property
    def steps(self) -> int:
        """Updates made."""
        return len(self.losses) - 1


@dataclass(frozen=True)
class OverfitRun:
    """The overfit-a-batch probe (protocol and calibration: docs/evidence/calibration.md#overfit).

    Attributes:
        verdict: "fit", "plateau" (every rung came to rest above half of the reachable improvement) or "inconclusive".
        rungs: what each learning rate reached, in the order tried.
        samples: size of the fixed batch.
        best_loss: the lowest loss over all rungs.
        floor: the lowest loss the batch allows (soft labels), 0 where unknown.
        blind_loss: the lowest loss of a prediction that is the same for all samples; None where unknown.
        reachable: from the initial loss, or the loss of chance where that is lower, down to the floor.
        steps_to_fit: steps of the rung that fitted.
        known_plateau: for the verdict "plateau": what fault a value within 2 % of the best loss is the signature of.
        limits: why a plateau would prove nothing on this batch (the verdict is then never "plateau").
    """

    verdict: str
    rungs: tuple[Rung, ...]
    samples: int
    initial_loss: float
    best_loss: float
    floor: float
    reachable: float
    blind_loss: float | None
    steps_to_fit: int | None
    known_plateau: str | None
    limits: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps made in all."""
        return sum(rung.steps for rung in self.rungs)

    @property
    def left(self) -> float:
        """Share of the reachable improvement that the best rung left."""
        return (self.best_loss - self.floor) / max(self.reachable, 1e-12)

    @property
    def in_words(self) -> str:
        """What was reached, in a few words."""
        if self.verdict == "fit":
            return f"fits {self.samples} samples in {self.steps_to_fit} steps"
        reached = (
            f"loss {self.initial_loss:.4g} to {self.best_loss:.4g} in {self.steps} steps on {self.samples} samples"
        )
        if self.verdict == "plateau":
            return reached
        falling = any(not rung.is_flat for rung in self.rungs)
        at_rest = (
            "too few steps to call it a plateau" if self.left > 0.5 else "at rest, with more than half of it learned"
        )
        return f"{reached}: {'; '.join(self.limits) or ('slow, but still falling' if falling else at_rest)}"


@dataclass(frozen=True)
class _Climb:
    """What all rungs have in common."""

    setup: TrainingSetup
    guard: StateGuard
    seed: int
    floor: float
    reachable: float
    blind: float | None
    on_step: OnStep | None
    steps: int

    def fits(self, loss: float) -> bool:
        """Whether a loss has come near enough to the lowest there is."""
        return loss - self.floor <= _FIT * self.reachable


def provide(session: Session) -> OverfitRun:
    """Run the probe.

    Raises:
        Skip: not asked for, or it cannot run.
    """
    probe = LongerProbe(session, "OverfitRun")
    samples = sample_count(session.setup)
    if not samples:
        raise Skip("the batch is empty")
    small = _batch_to_fit(session)
    steps = probe.steps(_EFFORT, share=sample_count(small) / samples)
    losses = session.evidence("LossCalls")
    seed = session.plan.seed
    found: OverfitRun = probe.run(
        lambda: run_overfit(session.setup, small, session.guard, losses, seed=seed, steps=steps, on_step=probe.on_step)
    )
    return found


def _batch_to_fit(session: Session) -> TrainingSetup:
    """The setup on a few samples of its batch; on all of them where model and loss do not take fewer."""
    setup, seed = session.setup, session.plan.seed
    small = small_batch(setup, SAMPLES)
    if small is setup:
        return setup

    def run() -> float:
        setup.model.train()
        seed_everything(seed)
        return loss_value(small)

    try:
        session.measure("overfit batch", run, attempt="model and loss do not take fewer samples")
    except OutOfBudget:
        raise
    except Skip:  # a size written into a view, targets flattened over the times of a sequence
        return setup
    return small


def run_overfit(
    setup: TrainingSetup,
    small: TrainingSetup,
    guard: StateGuard,
    losses: LossCalls,
    *,
    seed: int,
    steps: int,
    on_step: OnStep | None = None,
) -> OverfitRun:
    """Climb the ladder until a rung fits; the caller holds the guard.

    Args:
        setup: what is checked.
        small: the same on the batch to fit.
        guard: rewound before each rung.
        losses: the loss calls of the training pass.
        seed: of every rung.
        steps: over all rungs together, at most.
        on_step: called after each step.
    """
    call = single_call(losses)
    target = targets_of(call, small, sample_count(setup)) if call is not None else None
    initial, reasons = _initial_loss(small, seed)
    floor = loss_floor(call, target)
    # A net that starts far above chance has not learned anything by coming down to it.
    reachable = min(initial, chance_loss(call, target) or math.inf) - floor
    reasons += limits(small, losses.graph, call, target)
    own = setup.optimizer is not None and steps >= _OWN_RUNG
    # Where a plateau would prove nothing, half the steps do: all they can say is that it fits.
    each = steps // (len(LADDER) + own) // (2 if reasons else 1)
    climb = _Climb(small, guard, seed, floor, reachable, blind_floor(call, target), on_step, each)
    rungs = _ladder(climb, (*LADDER, *([None] if own else [])))
    best = min((rung.best for rung in rungs), default=initial)
    reasons += _below_floor(climb, best) if call is not None or reachable <= 0 else []
    verdict = _verdict(rungs, best, climb, reasons)
    return OverfitRun(
        verdict=verdict,
        rungs=tuple(rungs),
        samples=sample_count(small),
        initial_loss=initial,
        best_loss=best,
        floor=floor,
        reachable=reachable,
        blind_loss=climb.blind,
        steps_to_fit=rungs[-1].steps if verdict == "fit" else None,
        known_plateau=known_plateau(call, target, best) if verdict == "plateau" else None,
        limits=tuple(reasons),
    )


def _below_floor(climb: _Climb, best: float) -> list[str]:
    """Why the floor cannot be one."""
    if climb.reachable <= 0:
        return ["the loss starts below its floor"]
    return ["the loss falls below its floor"] if best < climb.floor - _FIT * climb.reachable else []


def _ladder(climb: _Climb, rates: Sequence[float | None]) -> list[Rung]:
    """Climb until a rung fits; no further than the ground where there is nothing to reach."""
    rungs: list[Rung] = []
    for rate in rates if climb.reachable > 0 else ():
        rungs.append(_rung(climb, rate))
        if climb.fits(rungs[-1].best):
            break
    return rungs


def _initial_loss(setup: TrainingSetup, seed: int) -> tuple[float, list[str]]:
    """The loss before training; a loss that changes from seed to seed (sampled noise) has a floor nothing here knows."""
    values = []
    setup.model.train()
    with regularization_off(setup.model, torch.optim.SGD(trainable(setup.model), lr=0.0)):
        for number in (seed, seed + 1):
            seed_everything(number)
            values.append(loss_value(setup))
    spread = abs(values[0] - values[1])
    return values[0], ["the loss is random"] if spread > _RANDOM * max(map(abs, values)) else []


def _rung(climb: _Climb, rate: float | None) -> Rung:
    """Train from the start with one learning rate; None for the user's optimizer as it is."""
    climb.guard.rewind()
    model = climb.setup.model
    model.train()
    seed_everything(climb.seed)
    optimizer = climb.setup.optimizer if rate is None else torch.optim.Adam(trainable(model), lr=rate)
    assert optimizer is not None

    def stop(losses: list[float]) -> bool:
        return climb.fits(losses[-1]) or _is_still(losses)

    with regularization_off(model, optimizer):
        losses = train(
            climb.setup,
            optimizer,
            climb.steps,
            stop=stop,
            on_step=climb.on_step,
            is_beyond=rate is not None and rate > min(LADDER),
        )
    name = "Adam" if rate is not None else type(optimizer).__name__
    return Rung(name, rate, tuple(losses), is_flat(losses, climb.reachable))


def _is_still(losses: list[float]) -> bool:
    """Whether the last twelve losses are the same but for rounding: nothing moves any more."""
    last = losses[-12:]
    return len(last) == 12 and max(last) - min(last) <= 1e-5 * max(abs(losses[0]), abs(losses[-1]), 1e-12)


def is_flat(losses: list[float], reachable: float) -> bool:
    """Whether the last third of a curve has stopped falling: its halves differ by less than 2 % of what can be reached."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < len(losses):
        return True  # it diverged: it will not fall any more
    third = finite[-max(len(finite) // 3, 6) :]
    half = len(third) // 2
    if half < 3:
        return False
    first, last = sum(third[:half]) / half, sum(third[half:]) / (len(third) - half)
    return first - last < _SAME * reachable


def _verdict(rungs: list[Rung], best: float, climb: _Climb, reasons: list[str]) -> str:
    if best < climb.floor and reasons:
        return "inconclusive"
    if rungs and climb.fits(best):
        return "fit"
    stuck = best - climb.floor > _STUCK * climb.reachable
    return "plateau" if rungs and stuck and not reasons and _is_proven(rungs, best, climb) else "inconclusive"


def _is_proven(rungs: list[Rung], best: float, climb: _Climb) -> bool:
    """Every rung is at rest; or two are, at the same loss, and it is none that a dead net has.

    A rung with a low rate may still be on its way down to where the others are. But a net that a high rate has killed rests
    at the loss of chance or of the best prediction that ignores the input, and proves nothing about the lower rates.
    """
    resting = [rung for rung in rungs if _is_plateau(rung, climb)]
    if len(resting) == len(rungs):
        return True
    at_best = [rung for rung in resting if rung.best - best <= _SAME * climb.reachable]
    alive = climb.blind is not None and abs(best - climb.blind) > _FIT * climb.reachable
    return alive and climb.floor + climb.reachable - best > _FIT * climb.reachable and len(at_best) > 1


def _is_plateau(rung: Rung, climb: _Climb) -> bool:
    """A flat curve that fell before, that is long enough for a slow start to be over, or that nothing moves.

    To the loss of the best prediction that ignores the input a bias takes every net in a few steps: that is no fall.
    """
    fell = climb.floor + climb.reachable - rung.best > _FIT * climb.reachable
    if climb.blind is not None and abs(rung.best - climb.blind) <= _FIT * climb.reachable:
        fell = False
    return rung.is_flat and (fell or rung.steps >= _LONG or _is_still(list(rung.losses)))
