"""Providers of the longer probes' evidence: what `--deep` and `--probe NAME` switch on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nnlint.config import PROBES
from nnlint.finding import Skip

if TYPE_CHECKING:
    from nnlint.probes.longer.stats import (
        GradientCheck,
        InputDependence,
        LearningRateRange,
        OverfitRun,
        PrecisionStats,
        ValidationGap,
    )
    from nnlint.probes.session import Session

#: Multiply-adds that a probe may spend, and its fewest and most steps. The fewest add up to less than 150 with the default
#: profile, and with the 20 more of the rates where one near the configured rate seems to diverge: that is what a ResNet-18 gets.
#: A net of a few thousand weights makes the most (docs/evidence/calibration.md#effort).
_OVERFIT = (4e10, 60, 1000)
_RANGE = (4e10, 45, 160)
_DEPENDENCE = (1e10, 8, 100)
_VALIDATION = (1e10, 10, 60)
_TRAINING_BATCHES = 8
_VALIDATION_BATCHES = 2


class _Probe:
    """One run of a longer probe: whether it may run, how many steps it gets, and what happens after each.

    Args:
        session: the session.
        evidence: what the probe measures.

    Raises:
        Skip: the probe is not asked for, or cannot run.
    """

    def __init__(self, session: Session, evidence: str) -> None:
        self.session = session
        self.name = next(name for name, kind in PROBES.items() if kind == evidence)
        self.done = 0
        self.planned = 0
        if not session.plan.deep and self.name not in session.plan.probes:
            raise Skip(f"needs --deep or --probe {self.name}")
        self.forward = session.evidence("ForwardStats")
        if evidence not in ("GradientCheck", "PrecisionStats"):
            session.evidence("LossCalls").require_result()
            session.evidence("BackwardStats")

    def steps(self, limits: tuple[float, int, int], share: float = 1.0) -> int:
        """The steps that a budget pays for, on a batch of this share of the sample batch."""
        from nnlint.probes.longer.effort import forward_work, steps_within

        budget, least, most = limits
        work = forward_work(self.forward.graph, self.session.setup.model) * share
        self.planned = steps_within(work, budget, least=least, most=most)
        return self.planned

    def on_step(self) -> None:
        """Report progress, and stop where the time budget is used up."""
        self.done += 1
        plan = self.session.plan
        if plan.on_step is not None:
            plan.on_step(self.name, self.done, max(self.planned, self.done))
        if plan.deadline is not None and time.monotonic() > plan.deadline:
            raise Skip(f"the time budget was used up in the {self.name} probe, after {self.done} steps")

    def run(self, measure: Callable[[], Any]) -> Any:
        """Measure inside the state guard.

        Raises:
            Skip: the time budget is used up, or the user's code raised in a run that it did not raise in before.
        """
        from nnlint.guard.state_guard import RestoreError
        from nnlint.probes.torch_errors import one_line

        try:
            return self.session.measure(f"{self.name} probe", measure)
        except (Skip, RestoreError):
            raise
        except Exception as error:
            raise Skip(f"the {self.name} probe raised {one_line(error)}") from error


def _overfit(session: Session) -> OverfitRun:
    from nnlint.probes.dependence.outputs import sample_count
    from nnlint.probes.longer.overfit import SAMPLES, run_overfit

    probe = _Probe(session, "OverfitRun")
    samples = sample_count(session.setup)
    steps = probe.steps(_OVERFIT, min(SAMPLES, samples) / samples)
    losses = session.evidence("LossCalls")
    seed = session.plan.seed
    found: OverfitRun = probe.run(
        lambda: run_overfit(session.setup, session.guard, losses, seed=seed, steps=steps, on_step=probe.on_step)
    )
    return found


def _lr_range(session: Session) -> LearningRateRange:
    from nnlint.probes.longer.known_losses import chance_loss, single_call
    from nnlint.probes.longer.lr_range import run_lr_range

    probe = _Probe(session, "LearningRateRange")
    steps = probe.steps(_RANGE)
    call = single_call(session.evidence("LossCalls"))
    chance = chance_loss(call, call.target_value) if call is not None else None
    seed = session.plan.seed
    found: LearningRateRange = probe.run(
        lambda: run_lr_range(session.setup, session.guard, seed=seed, steps=steps, chance=chance, on_step=probe.on_step)
    )
    return found


def _input_dependence(session: Session) -> InputDependence:
    from nnlint.probes.longer.input_dependence import run_input_dependence

    probe = _Probe(session, "InputDependence")
    known = _proven_dependence(session)
    if known is not None:
        return known
    steps = probe.steps(_DEPENDENCE)
    probe.planned = 2 * steps
    seed = session.plan.seed
    found: InputDependence = probe.run(
        lambda: run_input_dependence(session.setup, session.guard, seed=seed, steps=steps, on_step=probe.on_step)
    )
    return found


def _proven_dependence(session: Session) -> InputDependence | None:
    """What the overfit probe says already: a loss that no prediction that is blind to the input can have."""
    from nnlint.probes.longer.stats import InputDependence

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


def _gradcheck(session: Session) -> GradientCheck:
    from nnlint.probes.longer.gradcheck import run_gradcheck

    probe = _Probe(session, "GradientCheck")
    found: GradientCheck = probe.run(lambda: run_gradcheck(session.setup, seed=session.plan.seed))
    return found


def _precision(session: Session) -> PrecisionStats:
    from nnlint.probes.longer.precision import run_precision

    probe = _Probe(session, "PrecisionStats")
    precision = session.setup.precision
    if precision is None and probe.name not in session.plan.probes:
        raise Skip("no mixed precision declared")
    seed = session.plan.seed
    found: PrecisionStats = probe.run(
        lambda: run_precision(session.setup, session.guard, seed=seed, precision=precision or "bf16")
    )
    return found


def _validation(session: Session) -> ValidationGap:
    from nnlint.probes.given.batch import read_pairs
    from nnlint.probes.longer.input_dependence import run_validation_gap

    probe = _Probe(session, "ValidationGap")
    setup = session.setup
    validation = read_pairs(setup.val_data, _VALIDATION_BATCHES, setup)
    if not validation:
        raise Skip("no validation data given" if setup.val_data is None else "the validation data cannot be read again")
    training = read_pairs(setup.data, _TRAINING_BATCHES, setup) or [(setup.inputs, setup.targets)]
    steps = probe.steps(_VALIDATION)
    seed = session.plan.seed
    found: ValidationGap = probe.run(
        lambda: run_validation_gap(
            setup, session.guard, training, validation, seed=seed, steps=steps, on_step=probe.on_step
        )
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
