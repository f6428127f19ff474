"""Providers of the longer probes' evidence: what `--deep` and `--probe NAME` switch on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nnlint.finding import Skip

if TYPE_CHECKING:
    from nnlint.probes.deep_stats import (
        GradientCheck,
        InputDependence,
        LearningRateRange,
        OverfitRun,
        PrecisionStats,
        ValidationGap,
    )
    from nnlint.probes.session import Session

#: Names for `--probe`, and the evidence each stands for.
PROBES: Mapping[str, str] = {
    "overfit": "OverfitRun",
    "lr-range": "LearningRateRange",
    "input-dependence": "InputDependence",
    "gradcheck": "GradientCheck",
    "precision": "PrecisionStats",
    "validation": "ValidationGap",
}

_OVERFIT_STEPS = 60
_OVERFIT_STEPS_SMALL = 400
_RANGE_STEPS = 60
_RANGE_STEPS_SMALL = 120
_SMALL = 1_000_000
_VALIDATION_BATCHES = 4
_TRAINING_BATCHES = 8


def _ready(session: Session, evidence: str) -> Callable[[], None]:
    """Check that the probe may run; returns what it calls after each step, which raises Skip at the deadline."""
    name = next(name for name, kind in PROBES.items() if kind == evidence)
    if not session.plan.deep and name not in session.plan.probes:
        raise Skip(f"needs --deep or --probe {name}")
    session.evidence("ForwardStats")
    if evidence != "GradientCheck":
        if session.training_pass.losses is None:
            raise Skip("no loss given")
        session.evidence("BackwardStats")

    def on_step() -> None:
        if session.plan.deadline is not None and time.monotonic() > session.plan.deadline:
            raise Skip(f"the time budget was used up during the {name} probe")

    return on_step


def _is_small(session: Session) -> bool:
    return sum(parameter.numel() for parameter in session.setup.model.parameters()) < _SMALL


def _overfit(session: Session) -> OverfitRun:
    from nnlint.probes.overfit import run_overfit

    on_step = _ready(session, "OverfitRun")
    steps = _OVERFIT_STEPS_SMALL if _is_small(session) else _OVERFIT_STEPS
    found: OverfitRun = session.measure(
        "overfit",
        lambda: run_overfit(session.setup, session.guard, seed=session.plan.seed, on_step=on_step, budget_steps=steps),
    )
    return found


def _lr_range(session: Session) -> LearningRateRange:
    from nnlint.probes.lr_range import run_lr_range

    on_step = _ready(session, "LearningRateRange")
    steps = _RANGE_STEPS_SMALL if _is_small(session) else _RANGE_STEPS
    found: LearningRateRange = session.measure(
        "learning-rate range", lambda: run_lr_range(session.setup, seed=session.plan.seed, steps=steps, on_step=on_step)
    )
    return found


def _input_dependence(session: Session) -> InputDependence:
    from nnlint.probes.deep import run_input_dependence

    on_step = _ready(session, "InputDependence")
    found: InputDependence = session.measure(
        "input dependence",
        lambda: run_input_dependence(session.setup, session.guard, seed=session.plan.seed, on_step=on_step),
    )
    return found


def _gradcheck(session: Session) -> GradientCheck:
    from nnlint.probes.gradcheck import run_gradcheck

    _ready(session, "GradientCheck")
    found: GradientCheck = session.measure("gradcheck", lambda: run_gradcheck(session.setup, seed=session.plan.seed))
    return found


def _precision(session: Session) -> PrecisionStats:
    from nnlint.probes.precision import run_precision

    _ready(session, "PrecisionStats")
    precision = session.setup.precision or "bf16"
    found: PrecisionStats = session.measure(
        "precision", lambda: run_precision(session.setup, session.guard, seed=session.plan.seed, precision=precision)
    )
    return found


def _validation(session: Session) -> ValidationGap:
    from nnlint.probes.deep import run_validation_gap

    on_step = _ready(session, "ValidationGap")
    batch = session.evidence("Batch")
    validation = list(batch.val_batches(_VALIDATION_BATCHES))
    training = list(batch.batches(_TRAINING_BATCHES))
    found: ValidationGap = session.measure(
        "validation gap",
        lambda: run_validation_gap(
            session.setup, session.guard, training, validation, seed=session.plan.seed, on_step=on_step
        ),
    )
    return found


DEEP_PROVIDERS: Mapping[str, Callable[[Any], Any]] = {
    "OverfitRun": _overfit,
    "LearningRateRange": _lr_range,
    "InputDependence": _input_dependence,
    "GradientCheck": _gradcheck,
    "PrecisionStats": _precision,
    "ValidationGap": _validation,
}
