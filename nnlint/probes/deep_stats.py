"""Evidence of the longer probes, as plain numbers: imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnlint.finding import Location, Skip


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
    """The overfit-a-batch probe (protocol and calibration: docs/calibration.md#overfit).

    Attributes:
        verdict: "fit", "plateau" (every rung came to rest above half of the reachable improvement) or "inconclusive".
        rungs: what each learning rate reached, in the order tried.
        samples: size of the fixed batch.
        best_loss: the lowest loss over all rungs.
        floor: the lowest loss the batch allows (soft labels), 0 where unknown.
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
        why = f": {'; '.join(self.limits)}" if self.limits else " (slow, but falling)" if self.verdict == "inconclusive" else ""
        return f"loss {self.initial_loss:.4g} to {self.best_loss:.4g} in {self.steps} steps on {self.samples} samples{why}"


@dataclass(frozen=True)
class LearningRateRange:
    """The learning-rate range test on a copy of the state, from the user's optimizer and groups.

    Attributes:
        rates, losses: the curve; `smoothed` is its debiased running mean.
        starts: the rate from which the loss falls measurably; None where it never does.
        steepest: where the smoothed loss falls fastest over the logarithm of the rate.
        minimum: the rate of the smoothed minimum: the article's choice, too high for training.
        diverges: the rate from which the loss rises past three times its best or is no number; None where it never does.
        suggestion: a rate inside the interval.
        configured: the optimizer's own rate (of its first group).
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    starts: float | None
    steepest: float | None
    minimum: float | None
    diverges: float | None
    suggestion: float | None
    configured: float | None
    optimizer: str

    @property
    def interval(self) -> tuple[float, float] | None:
        """Usable learning rates: from where the loss starts to move to a tenth of the minimum's rate, at least the steepest."""
        if self.starts is None or self.minimum is None:
            return None
        upper = max(self.minimum / 3.0, self.starts)
        if self.diverges is not None:
            upper = min(upper, self.diverges / 3.0)
        return (self.starts, max(upper, self.starts))


@dataclass(frozen=True)
class InputDependence:
    """Short trainings on the real inputs and on inputs without information.

    Attributes:
        real, blind: final losses on the real batch and with every sample's input replaced by the batch mean.
        initial: loss before training.
        steps: steps of each run.
    """

    initial: float
    real: float
    blind: float
    steps: int
    samples: int


@dataclass(frozen=True)
class CustomGradient:
    """gradcheck of one custom autograd.Function call, in float64."""

    function: str
    module_path: str
    location: Location | None
    passed: bool
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
        gradient_underflow: fraction of gradient entries below the smallest fp16 subnormal (6e-8) without scaling.
    """

    precision: str
    layers: tuple[LayerPrecision, ...]
    gradient_underflow: float | None

    @property
    def overflowing(self) -> tuple[LayerPrecision, ...]:
        """Layers with infinities that float32 does not have."""
        return tuple(layer for layer in self.layers if layer.overflows)


@dataclass(frozen=True)
class ValidationGap:
    """A short training with validation data, as configured and with dropout and weight decay off.

    Attributes:
        train, validation: losses at the checkpoints of the run.
        steps: training steps between checkpoints.
        regularized: what regularization the setup has ("dropout", "weight decay", "batch norm", ...).
    """

    train: tuple[float, ...]
    validation: tuple[float, ...]
    steps: int
    regularized: tuple[str, ...]

    def require_points(self, count: int) -> ValidationGap:
        """This, or Skip where fewer checkpoints were reached."""
        if len(self.validation) < count:
            raise Skip("the short training ended before the validation loss could be compared")
        return self
