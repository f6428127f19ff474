"""The learning-rate range test: on a snapshot, from the user's optimizer and its parameter groups.

A sweep raises the rate geometrically on the sample batch and says where the loss starts to move; its curve is smoothed with a
short debiased running mean (a long one without debiasing lags nearly two decades). A sweep cannot say where training diverges: by
the time its rate is high it has memorized the batch, and SGD does not leave a loss of zero. So short runs from the start, at
constant rates around the sweep's minimum, look for that. Source: L. N. Smith, "Cyclical Learning Rates", 2017 (arXiv:1506.01186).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from nnlint.finding import Skip
from nnlint.probes.longer.effort import LongerProbe
from nnlint.probes.longer.forward_loss import forward_loss
from nnlint.probes.longer.known_losses import loss_of_chance
from nnlint.probes.longer.loop import OnStep, diverging, train, trainable, update
from nnlint.probes.longer.lr_curve import read_curve
from nnlint.seeding import seed_everything

if TYPE_CHECKING:
    from nnlint.guard.state_guard import StateGuard
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

_LOWEST = 1e-7
_HIGHEST = 1.0
_SHARPER = 10.0  # SGD takes larger rates than optimizers that divide by the size of the gradient
_PER_DECADE = 5
_DIVERGED = 3.0
_FACTOR = math.sqrt(10.0)
_RISEN = 0.3  # of the first loss, back up from the lowest
#: Steps that a run gets to come back from an overshoot where its divergence would speak against the configured rate.
_PATIENCE = 20
_NEAR = 3.0  # times the configured rate: a divergence up to there does
_LOST = 30.0  # times the first loss: this run will not come back
#: Multiply-adds that the probe may spend, and its fewest and most steps.
_EFFORT = (4e10, 45, 160)


@dataclass(frozen=True)
class Trial:
    """A few steps from the start at one learning rate.

    Attributes:
        losses: loss before each step, and after the last; a run that diverges ends there.
        diverged: the loss was no number, rose far above where it began, or rose again after it had fallen.
    """

    rate: float
    losses: tuple[float, ...]
    diverged: bool


@dataclass(frozen=True)
class LearningRateRange:
    """The learning-rate range test, from the user's optimizer and groups (docs/evidence/calibration.md#learning-rate-range).

    Attributes:
        rates, losses: the sweep: the loss before the step that is made with each rate; `smoothed` is its debiased running mean.
        trials: short runs at constant rates, around the minimum and down to the first that does not diverge.
        starts: the rate from which the loss falls measurably; None where it never does.
        steepest: where the smoothed loss falls fastest over the logarithm of the rate.
        minimum: the rate of the smoothed minimum: a popular choice, mostly too high to train with.
        diverges: the lowest rate whose trial diverged; None where none did.
        configured: the optimizer's own rate (of its first group); None without an optimizer.
        lower: where the configured rate is above the interval, the last losses of equally long runs with it and with the suggestion.
        optimizer: class of the optimizer.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    trials: tuple[Trial, ...]
    starts: float | None
    steepest: float | None
    minimum: float | None
    diverges: float | None
    configured: float | None
    optimizer: str
    lower: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Usable rates: from where the loss starts to move to a third of where training diverges."""
        upper = self.diverges / 3.0 if self.diverges is not None else self.minimum
        if self.starts is None or upper is None or upper < self.starts:
            return None
        return (self.starts, upper)

    @property
    def suggestion(self) -> float | None:
        """The middle of the interval on a logarithmic scale."""
        return math.sqrt(self.interval[0] * self.interval[1]) if self.interval is not None else None

    @property
    def lower_is_better(self) -> bool:
        """Whether the suggested rate was tried beside the configured one, and ends lower."""
        return self.lower is not None and (not math.isfinite(self.lower[0]) or self.lower[1] < self.lower[0])

    @property
    def steps_to_move(self) -> float | None:
        """How many steps at the configured rate add up to what the sweep needed until the loss started to move."""
        if self.starts is None or not self.configured:
            return None
        return sum(rate for rate in self.rates if rate <= self.starts) / self.configured

    @property
    def minimum_diverged(self) -> bool:
        """Whether training at the rate of the curve's minimum was tried and diverged."""
        return any(trial.diverged and trial.rate == self.minimum for trial in self.trials)

    @property
    def position(self) -> str:
        """Where the configured rate stands: "below", "inside", "above" the interval, or "unknown"."""
        if self.configured is None or self.interval is None:
            return "unknown"
        low, high = self.interval
        return "below" if self.configured < low else "above" if self.configured > high else "inside"


@dataclass(frozen=True)
class _Range:
    setup: TrainingSetup
    guard: StateGuard
    optimizer: torch.optim.Optimizer
    ratios: tuple[float, ...]
    seed: int
    chance: float
    configured: float
    usual: float  # the configured rate, or the default of the optimizer that stands in
    on_step: OnStep | None

    def begin(self) -> None:
        self.guard.rewind()
        self.setup.model.train()
        seed_everything(self.seed)

    def set_rate(self, rate: float) -> None:
        groups = (group for group in self.optimizer.param_groups if "lr" in group)
        for group, ratio in zip(groups, self.ratios, strict=True):
            group["lr"] = rate * ratio


def provide(session: Session) -> LearningRateRange:
    """Run the probe.

    Raises:
        Skip: not asked for, or it cannot run.
    """
    probe = LongerProbe(session, "LearningRateRange")
    steps = probe.steps(_EFFORT)
    chance = loss_of_chance(session.evidence("LossCalls"))
    seed = session.plan.seed
    found: LearningRateRange = probe.run(
        lambda: run_lr_range(session.setup, session.guard, seed=seed, steps=steps, chance=chance, on_step=probe.on_step)
    )
    return found


def run_lr_range(
    setup: TrainingSetup,
    guard: StateGuard,
    *,
    seed: int,
    steps: int,
    chance: float | None = None,
    on_step: OnStep | None = None,
) -> LearningRateRange:
    """Raise the rate step by step, then try rates around the minimum; the caller holds the state guard.

    Args:
        setup: what is checked; without an optimizer AdamW stands in.
        guard: rewound before each run.
        seed: of every run.
        steps: in all, at most; three fifths are the sweep's.
        chance: the loss of a prediction that says nothing, where it is known: less than a tenth of it is no divergence.
        on_step: called after each step.

    Raises:
        Skip: there is no learning rate to change.
    """
    optimizer = setup.optimizer or torch.optim.AdamW(trainable(setup.model))
    base = [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]
    scale = next((rate for rate in base if rate > 0), None)
    if scale is None:
        raise Skip("the optimizer has no learning rate above zero to change")
    # The groups keep their ratios to each other.
    ratios = tuple(rate / scale for rate in base)
    configured = scale if setup.optimizer is not None else 0.0
    run = _Range(setup, guard, optimizer, ratios, seed, chance or 0.0, configured, scale, on_step)
    rates = sweep_rates(steps * 3 // 5, highest=_HIGHEST * (_SHARPER if type(optimizer).__name__ == "SGD" else 1.0))
    losses = _sweep(run, rates)
    curve = read_curve(rates[: len(losses)], losses)
    trials = _trials(run, curve.minimum, rates, steps - steps * 3 // 5) if curve.minimum is not None else []
    found = LearningRateRange(
        rates=tuple(rates[: len(losses)]),
        losses=tuple(losses),
        smoothed=curve.smoothed,
        trials=tuple(sorted(trials, key=lambda trial: trial.rate)),
        starts=curve.starts,
        steepest=curve.steepest,
        minimum=curve.minimum,
        diverges=min((trial.rate for trial in trials if trial.diverged), default=None),
        configured=scale if setup.optimizer is not None else None,
        optimizer=type(optimizer).__name__,
    )
    return replace(found, lower=_tried(run, found)) if found.position == "above" else found


def _tried(run: _Range, found: LearningRateRange) -> tuple[float, float] | None:
    """Before a lower rate is advised, it is tried over the same steps."""
    if found.suggestion is None:
        return None
    ends = (_run(run, rate, _PATIENCE, lambda _: False)[-1] for rate in (run.configured, found.suggestion))
    return (next(ends), next(ends))


def sweep_rates(count: int, *, highest: float) -> list[float]:
    """Geometric rates up to the highest, from 1e-7 where the steps allow five for each decade."""
    decades = min(math.log10(highest / _LOWEST), (count - 1) / _PER_DECADE)
    return [highest * 10.0 ** (-decades * (1.0 - index / (count - 1))) for index in range(count)]


def _sweep(run: _Range, rates: Sequence[float]) -> list[float]:
    run.begin()
    losses: list[float] = []
    for before, rate in zip((0.0, *rates), rates, strict=False):
        run.optimizer.zero_grad(set_to_none=True)
        with diverging(losses, is_beyond=before > run.usual):
            loss = forward_loss(run.setup)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]) or losses[-1] > _DIVERGED * max(abs(losses[0]), run.chance):
                return losses
            loss.backward()
            run.set_rate(rate)
            update(run.optimizer, run.setup)
        if not math.isfinite(losses[-1]):
            return losses
        if run.on_step is not None:
            run.on_step()
    return losses


def _trials(run: _Range, minimum: float, rates: Sequence[float], steps: int) -> list[Trial]:
    """Try the minimum; from there down until a rate holds, or up until one does not; then once between the two.

    One divergence that speaks against the configured rate gets a longer run: momentum overshoots at first.
    """
    each = max(min(steps // 4, 8), 4)
    trials: list[Trial] = []

    def is_affordable() -> bool:
        return sum(min(len(trial.losses) - 1, each) for trial in trials) + each <= steps

    def is_near(rate: float) -> bool:
        return rate <= _NEAR * run.configured

    def has_patience() -> bool:
        return all(len(trial.losses) - 1 <= each for trial in trials)

    def try_rate(rate: float) -> bool:
        """Whether it diverges."""
        trials.append(_trial(run, rate, each, is_patient=is_near(rate) and has_patience()))
        return trials[-1].diverged

    first = try_rate(minimum)
    factor = 1.0 / _FACTOR if first else _FACTOR
    last = first
    while last == first and is_affordable():
        rate = trials[-1].rate * factor
        if not rates[0] <= rate <= rates[-1] * _FACTOR:
            return trials
        last = try_rate(rate)
    between = math.sqrt(trials[-1].rate * trials[-2].rate) if last != first else math.inf
    if math.isfinite(between) and is_affordable() and (has_patience() or not is_near(between)):
        try_rate(between)
    return trials


def _trial(run: _Range, rate: float, steps: int, *, is_patient: bool) -> Trial:
    losses = _run(run, rate, steps, lambda losses: _is_far_above(losses, run.chance))
    diverged = has_diverged(losses, run.chance)
    if is_patient and diverged and math.isfinite(losses[-1]) and steps < _PATIENCE:
        short = len(losses)

        def is_decided(losses: list[float]) -> bool:
            return losses[-1] > _LOST * max(abs(losses[0]), run.chance) or (
                len(losses) >= short and losses[-1] < (1.0 - _RISEN) * losses[0]
            )

        losses = _run(run, rate, _PATIENCE, is_decided)
        diverged = has_diverged(losses, run.chance)
    return Trial(rate, tuple(losses), diverged)


def _run(run: _Range, rate: float, steps: int, stop: Callable[[list[float]], bool]) -> list[float]:
    run.begin()
    run.set_rate(rate)
    return train(run.setup, run.optimizer, steps, stop=stop, on_step=run.on_step, is_beyond=rate > run.usual)


def _is_far_above(losses: Sequence[float], chance: float) -> bool:
    """Whether the last loss is twice the first, and more than a trained net's noise."""
    first = losses[0]
    return losses[-1] > first + max(abs(first), 0.1 * chance)


def has_diverged(losses: Sequence[float], chance: float) -> bool:
    """Whether a run at a constant rate diverges: no number, far above the start, not below it after a spike, or up after a fall."""
    if not math.isfinite(losses[-1]) or _is_far_above(losses, chance):
        return True
    if losses[-1] >= losses[0] and max(losses) > losses[0] + 0.5 * max(abs(losses[0]), 0.1 * chance):
        return True
    pairs = [(one + other) / 2.0 for one, other in itertools.pairwise(losses)]
    return bool(pairs) and pairs[-1] - min(pairs) > _RISEN * max(abs(losses[0]), 0.1 * chance)
