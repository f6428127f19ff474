"""Can the model learn at all? Overfit a small fixed batch, regularization off, over a ladder of learning rates.

A neutral Adam climbs the ladder whatever optimizer the user has, so that no verdict depends on the user's optimizer being the probe's
favourite; the user's own optimizer gets a rung where the ladder did not fit. Protocol: Karpathy's recipe ("overfit one batch", as few
as two examples), calibrated in docs/calibration.md#overfit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from nnlint.probes.deep_stats import OverfitRun, Rung
from nnlint.probes.guard_process import seed_everything
from nnlint.probes.training import regularization_off, small_batch, train, trainable

if TYPE_CHECKING:
    from nnlint.probes.guard import StateGuard
    from nnlint.setup.training_setup import TrainingSetup

_SAMPLES = 8
_LADDER = (1e-3, 3e-4, 3e-3, 1e-4)
_FIT = 0.1  # of the reachable improvement that may be left
_STUCK = 0.5  # of it that must be left for a plateau
_TOLERANCE = 0.02

#: How many steps a rung may take.
STEPS = 30
#: A rung that is still falling may go on to here.
LONGEST = 150


def run_overfit(
    setup: TrainingSetup, guard: StateGuard, *, seed: int, on_step: Callable[[], None] | None = None, budget_steps: int
) -> OverfitRun:
    """Climb the ladder until a rung fits; the caller holds the guard.

    Args:
        setup: what is checked.
        guard: rewound before each rung.
        seed: of every rung.
        on_step: called after each step, for a progress bar and the time budget (it may raise Skip).
        budget_steps: steps over all rungs together.
    """
    small = small_batch(setup, _SAMPLES)
    floor = loss_floor(small)
    rungs: list[Rung] = []
    left = budget_steps
    for rate in _LADDER:
        if left < STEPS // 2:
            break
        rung = _climb(small, guard, rate, seed=seed, floor=floor, steps=min(LONGEST, left), on_step=on_step)
        rungs.append(rung)
        left -= len(rung.losses) - 1
        if _fits(rung, floor):
            break
    return _verdict(small, rungs, floor)


def _climb(
    setup: TrainingSetup,
    guard: StateGuard,
    rate: float,
    *,
    seed: int,
    floor: float,
    steps: int,
    on_step: Callable[[], None] | None,
) -> Rung:
    guard.rewind()
    setup.model.train()
    seed_everything(seed)
    optimizer = torch.optim.Adam(trainable(setup.model), lr=rate)

    def stop(losses: list[float]) -> bool:
        if on_step is not None:
            on_step()
        reachable = losses[0] - floor
        if losses[-1] - floor <= _FIT * reachable:
            return True
        # Give up early on a rung that is flat; a falling one may use the longer limit.
        return len(losses) > STEPS and Rung("Adam", rate, tuple(losses), None).is_flat

    with regularization_off(optimizer):
        losses = train(setup, optimizer, steps, stop=stop)
    return Rung("Adam", rate, tuple(losses), None)


def _fits(rung: Rung, floor: float) -> bool:
    return rung.best - floor <= _FIT * (rung.losses[0] - floor)


def _verdict(setup: TrainingSetup, rungs: list[Rung], floor: float) -> OverfitRun:
    initial = rungs[0].losses[0]
    best = min(rungs, key=lambda rung: rung.best)
    reachable = initial - floor
    fitted = next((rung for rung in rungs if _fits(rung, floor)), None)
    stuck = all(rung.is_flat or not math.isfinite(rung.losses[-1]) for rung in rungs)
    if fitted is not None:
        verdict = "fit"
    elif stuck and best.best - floor > _STUCK * reachable:
        verdict = "plateau"
    else:
        verdict = "inconclusive"
    samples = next((int(t.shape[0]) for t in _tensors(setup.targets) if t.dim()), 0)
    return OverfitRun(
        verdict=verdict,
        rungs=tuple(rungs),
        samples=samples,
        initial_loss=initial,
        floor=floor,
        steps_to_fit=_steps_to(fitted, floor) if fitted is not None else None,
        plateau=best.best if verdict == "plateau" else None,
        known_plateau=known_plateau(setup, best.best) if verdict != "fit" else None,
    )


def _steps_to(rung: Rung, floor: float) -> int:
    limit = floor + _FIT * (rung.losses[0] - floor)
    return next(index for index, loss in enumerate(rung.losses) if loss <= limit)


def loss_floor(setup: TrainingSetup) -> float:
    """The lowest loss the targets allow: the entropy of soft labels under cross-entropy, else 0."""
    target = setup.targets
    name = getattr(setup.loss, "__name__", type(setup.loss).__name__).lower().replace("_", "")
    if (
        isinstance(target, torch.Tensor)
        and target.is_floating_point()
        and "crossentropy" in name
        and "binary" not in name
    ):
        return float(torch.special.entr(target.clamp_min(0)).sum(dim=1 if target.dim() > 1 else 0).mean())
    smoothing = float(getattr(setup.loss, "label_smoothing", 0.0) or 0.0)
    classes = setup.num_classes
    if smoothing and classes:
        wrong = smoothing / classes
        right = 1 - smoothing + wrong
        return -right * math.log(right) - (classes - 1) * wrong * math.log(wrong)
    return 0.0


def known_plateau(setup: TrainingSetup, loss: float) -> str | None:
    """The fault whose signature a plateau value is, within 2 %: docs/calibration.md#plateaus."""
    for value, name in _plateaus(setup):
        if value and abs(loss - value) <= _TOLERANCE * abs(value):
            return name
    return None


def _plateaus(setup: TrainingSetup) -> list[tuple[float, str]]:
    target = setup.targets
    if not isinstance(target, torch.Tensor):
        return []
    found: list[tuple[float, str]] = []
    classes = setup.num_classes or _classes_of(setup)
    if not target.is_floating_point() and classes and classes > 1:
        labels = target.reshape(-1)
        counts = torch.bincount(labels[labels >= 0], minlength=classes).double()
        share = counts[counts > 0] / counts.sum()
        found += [
            (
                math.log(math.e + classes - 1) - 1,
                f"ln(e + C - 1) - 1 for C = {classes}: softmax or sigmoid before cross-entropy",
            ),
            (float(-(share * share.log()).sum()), "the entropy of the labels: the output ignores the input"),
            (math.log(classes), f"ln C for C = {classes}: nothing is learned"),
        ]
    elif target.is_floating_point():
        variance = float(target.double().var(unbiased=False))
        found += [
            (variance, "Var(y): the prediction is a constant (shapes broadcast, or the output ignores the input)"),
            (math.log(2.0), "ln 2: nothing is learned"),
        ]
    return found


def _classes_of(setup: TrainingSetup) -> int | None:
    with torch.no_grad():
        output, _ = setup.run()
    tensor = next((t for t in _tensors(output) if t.is_floating_point() and t.dim() > 1), None)
    return int(tensor.shape[1]) if tensor is not None else None


def _tensors(value: Any) -> list[torch.Tensor]:
    from nnlint.capture.bindings import tensor_leaves

    return [tensor for _, tensor in tensor_leaves(value)]
