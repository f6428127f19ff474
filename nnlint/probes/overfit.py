"""Can the model learn at all? Overfit a small fixed batch, regularization off, over a ladder of learning rates.

A neutral Adam climbs the ladder whatever optimizer the user has, so that no verdict depends on the user's optimizer being the probe's
favourite; the user's own optimizer gets a rung where the ladder did not fit. Protocol: Karpathy's recipe ("overfit one batch", as few
as two examples), calibrated in docs/calibration.md#overfit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nnlint.probes.deep_stats import OverfitRun, Rung
from nnlint.probes.guard_process import seed_everything
from nnlint.probes.light_pass import forward_loss
from nnlint.probes.outputs import sample_count
from nnlint.probes.plateaus import known_plateau, limits, loss_floor, single_call, targets_of
from nnlint.probes.training import OnStep, regularization_off, small_batch, train, trainable

if TYPE_CHECKING:
    from nnlint.probes.guard import StateGuard
    from nnlint.probes.losses import LossCalls
    from nnlint.setup.training_setup import TrainingSetup

SAMPLES = 8
LADDER = (1e-3, 3e-4, 3e-3, 1e-4)
_FIT = 0.1  # of the reachable improvement that may be left
_STUCK = 0.5  # of it that must be left for a plateau
_RANDOM = 0.01  # relative difference of the loss from seed to seed
#: Steps of a rung from which a flat curve is a plateau even where it never fell: nets may start slowly.
_LONG = 60
#: The user's optimizer gets a rung of its own where there are this many steps in all.
_OWN_RUNG = 200


@dataclass(frozen=True)
class _Climb:
    """What all rungs have in common."""

    setup: TrainingSetup
    guard: StateGuard
    seed: int
    floor: float
    on_step: OnStep | None
    steps: int


def run_overfit(
    setup: TrainingSetup,
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
        guard: rewound before each rung.
        losses: the loss calls of the training pass.
        seed: of every rung.
        steps: over all rungs together, at most.
        on_step: called after each step.
    """
    small = small_batch(setup, SAMPLES)
    call = single_call(losses)
    target = targets_of(call, small, sample_count(setup)) if call is not None else None
    floor = loss_floor(call, target)
    own = setup.optimizer is not None and steps >= _OWN_RUNG
    climb = _Climb(small, guard, seed, floor, on_step, steps // (len(LADDER) + own))
    reasons = [*_random_loss(climb), *limits(small, losses.graph, call, target)]
    rungs: list[Rung] = []
    for rate in (*LADDER, *([None] if own else [])):
        rungs.append(_rung(climb, rate))
        if _fits(rungs[-1], floor):
            break
    best = min(rungs, key=lambda rung: rung.best)
    verdict = _verdict(rungs, best, climb, reasons)
    return OverfitRun(
        verdict=verdict,
        rungs=tuple(rungs),
        samples=sample_count(small),
        initial_loss=rungs[0].losses[0],
        best_loss=best.best,
        floor=floor,
        steps_to_fit=_steps_to(rungs[-1], floor) if verdict == "fit" else None,
        known_plateau=known_plateau(call, target, best.best) if verdict == "plateau" else None,
        limits=tuple(reasons),
    )


def _random_loss(climb: _Climb) -> list[str]:
    """A loss that changes from seed to seed (sampled noise, masks) has a floor that nothing here knows."""
    values = []
    climb.setup.model.train()
    with torch.no_grad(), regularization_off(climb.setup.model, torch.optim.SGD(trainable(climb.setup.model), lr=0.0)):
        for seed in (climb.seed, climb.seed + 1):
            seed_everything(seed)
            values.append(float(forward_loss(climb.setup)))
    spread = abs(values[0] - values[1])
    return ["the loss is random"] if spread > _RANDOM * max(map(abs, values)) else []


def _rung(climb: _Climb, rate: float | None) -> Rung:
    """Train from the start with one learning rate; None for the user's optimizer as it is."""
    climb.guard.rewind()
    model = climb.setup.model
    model.train()
    seed_everything(climb.seed)
    optimizer = climb.setup.optimizer if rate is None else torch.optim.Adam(trainable(model), lr=rate)
    assert optimizer is not None

    def stop(losses: list[float]) -> bool:
        reachable = losses[0] - climb.floor
        return losses[-1] - climb.floor <= _FIT * reachable or _is_still(losses)

    with regularization_off(model, optimizer):
        losses = train(climb.setup, optimizer, climb.steps, stop=stop, on_step=climb.on_step)
    name = "Adam" if rate is not None else type(optimizer).__name__
    return Rung(name, rate, tuple(losses), is_flat(losses, climb.floor))


def _is_still(losses: list[float]) -> bool:
    """Whether the last twelve losses are the same but for rounding: nothing moves any more."""
    last = losses[-12:]
    return len(last) == 12 and max(last) - min(last) <= 1e-5 * max(abs(losses[0]), abs(losses[-1]), 1e-12)


def is_flat(losses: list[float], floor: float) -> bool:
    """Whether the last third of a curve has stopped falling: by less than 2 % of what was left to fall from the start."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < len(losses):
        return True  # it diverged: it will not fall any more
    third = finite[-max(len(finite) // 3, 6) :]
    half = len(third) // 2
    if half < 3:
        return False
    first, last = sum(third[:half]) / half, sum(third[half:]) / (len(third) - half)
    return first - last < 0.02 * max(abs(losses[0] - floor), 1e-12)


def _fits(rung: Rung, floor: float) -> bool:
    return rung.best - floor <= _FIT * (rung.losses[0] - floor)


def _verdict(rungs: list[Rung], best: Rung, climb: _Climb, reasons: list[str]) -> str:
    if _fits(rungs[-1], climb.floor):
        return "fit"
    reachable = rungs[0].losses[0] - climb.floor
    proven = all(_is_plateau(rung, reachable) for rung in rungs)
    stuck = best.best - climb.floor > _STUCK * reachable
    return "plateau" if proven and stuck and not reasons else "inconclusive"


def _is_plateau(rung: Rung, reachable: float) -> bool:
    """A flat curve that fell before, that is long enough for a slow start to be over, or that nothing moves."""
    fell = rung.losses[0] - rung.best > _FIT * reachable
    return rung.is_flat and (fell or rung.steps >= _LONG or _is_still(list(rung.losses)))


def _steps_to(rung: Rung, floor: float) -> int:
    limit = floor + _FIT * (rung.losses[0] - floor)
    return next(index for index, loss in enumerate(rung.losses) if loss <= limit)
