"""Evidence of the longer probes, as plain numbers: imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnlint.finding import Location


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


@dataclass(frozen=True)
class CustomGradient:
    """gradcheck of one custom autograd.Function call, in float64.

    Attributes:
        passed: None where nothing was to be proven; `detail` says why.
        detail: what gradcheck said.
    """

    function: str
    module_path: str
    location: Location | None
    passed: bool | None
    detail: str


@dataclass(frozen=True)
class GradientCheck:
    """gradcheck of every custom autograd.Function that the forward called."""

    functions: tuple[CustomGradient, ...]


@dataclass(frozen=True)
class LayerPrecision:
    """One op's output in a lower precision against float32."""

    label: str
    module_path: str
    location: Location | None
    relative_error: float
    abs_max: float
    overflows: bool


@dataclass(frozen=True)
class PrecisionStats:
    """The forward under autocast against float32.

    Attributes:
        precision: "bf16" or "fp16".
        layers: ops whose outputs could be paired.
    """

    precision: str
    layers: tuple[LayerPrecision, ...]

    @property
    def overflowing(self) -> tuple[LayerPrecision, ...]:
        """Layers with infinities that float32 does not have."""
        return tuple(layer for layer in self.layers if layer.overflows)


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
