"""Evidence `StepStats`: what a few real optimizer steps did. Plain numbers: imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from nnlint.finding import Location, Skip

_SMALLEST_RMS = 1e-4
#: Fewer numbers have no norm to speak of: an update of a line's slope may well be larger than the slope.
_SMALLEST_TENSOR = 8
#: Times the largest gradient before an update: its size is not yet what training will see (docs/evidence/calibration.md#steps).
_WAKING = 10.0
_DIED_OUT = 1e-3  # of the first norm of the gradient: the batch is learned


@dataclass(frozen=True)
class TrackedParameter:
    """One parameter over the steps.

    Attributes:
        in_optimizer: whether the optimizer holds it.
        sparse: its gradient is a sparse tensor.
        is_table: it belongs to an embedding: only the rows that the batch looks up get a gradient.
        gradients: norm of the gradient before each update, and after the last of a large model where those before it leave a question
            open; None where autograd gave none.
        updates: norm of each update, where the run was short enough to compare every step; else empty.
        moved: Euclidean norm of the parameter's whole change over the steps.
        weight_norm: norm before the first step.
        steps: updates that were made with a learning rate above zero.
        decay: how far weight decay alone pulls in one step: against the gradient where it is added to it, against the
            whole update where it is decoupled.
        decoupled: weight decay is decoupled from the gradient (AdamW).
    """

    name: str
    numel: int
    dims: int
    requires_grad: bool
    in_optimizer: bool
    sparse: bool
    gradients: tuple[float | None, ...]
    moved: float
    weight_norm: float
    steps: int
    updates: tuple[float, ...] = ()
    is_table: bool = False
    decay: float = 0.0
    decoupled: bool = False
    location: Location | None = None

    @property
    def module_path(self) -> str:
        """Path of the module that owns the parameter."""
        return self.name.rpartition(".")[0]

    @property
    def always_zero(self) -> bool:
        """Whether a gradient came before every update and was exactly zero each time, though other parameters moved.

        A branch that is zero-initialized (residual gammas, LoRA, heads) wakes up after an update or two; the rows of an
        embedding that the batch does not look up have none for a good reason.
        """
        if self.is_table or self.steps < 2 or len(self.gradients) < 3:
            return False
        return all(norm == 0.0 for norm in self.gradients)

    @property
    def rms(self) -> float:
        """Root mean square of the weights before the first step."""
        return self.weight_norm / math.sqrt(self.numel) if self.numel else 0.0

    @property
    def update_ratio(self) -> float | None:
        """Typical update over the weight norm; None for vectors and for weights too near zero to divide by.

        LayerScale and zero-initialized tensors have ratios of 1e3 and more in healthy nets (docs/evidence/calibration.md#steps).
        """
        if self.dims < 2 or self.numel < _SMALLEST_TENSOR or self.rms <= _SMALLEST_RMS or not self.steps:
            return None
        finite = [norm for norm in self.updates if math.isfinite(norm)]
        return (median(finite) if finite else self.moved / self.steps) / self.weight_norm

    @property
    def largest_update_ratio(self) -> float | None:
        """The same for the largest update: a solver that has arrived (LBFGS) changes nothing more."""
        if self.update_ratio is None:
            return None
        return max(self.update_ratio, *(norm / self.weight_norm for norm in self.updates if math.isfinite(norm)), 0.0)

    @property
    def decay_share(self) -> float | None:
        """Weight decay over what the gradient does: over its largest norm, or over the step's where decay is decoupled.

        The largest: a small net has learned the batch after a few steps, and its gradient is gone. None where the gradient
        wakes up after the updates: a branch that starts at zero, or at a LayerScale of 1e-5, lets none through at first.
        """
        norms = [norm or 0.0 for norm in self.gradients if math.isfinite(norm or 0.0)]
        largest = max(norms, default=0.0)
        if largest > _WAKING * max(norms[: self.steps], default=0.0):
            return None
        pull = self.moved / self.steps if self.decoupled and self.steps else largest
        if self.decay <= 0.0 or not math.isfinite(pull) or pull <= 0.0:
            return None
        return self.decay / pull


@dataclass(frozen=True)
class DeadGrowth:
    """Dead units of one rectifier before and after the steps."""

    module_path: str
    label: str
    location: Location | None
    units: int
    before: int
    after: int

    @property
    def growth(self) -> float:
        """Share of the layer's units that died."""
        return (self.after - self.before) / self.units if self.units else 0.0


@dataclass(frozen=True)
class StepStats:
    """The steps probe.

    Attributes:
        losses: loss before each update, and after the last.
        steps: updates made.
        own_optimizer: the steps were made by the user's optimizer (else by a plain SGD of nnlint's).
        samples: batch size.
        non_finite_step: number of updates after which the loss was first NaN or Inf; None where it never was.
        non_finite_at: label of the op where that NaN or Inf appeared.
        frozen_moved: parameters with requires_grad=False that an update of the optimizer changed. What the forward
            itself writes (a moving average of a teacher) is not among them.
        moved_buffers: buffers (batch-norm statistics) of modules without trainable parameters that changed.
        surrogate: no loss was given: a random projection of the outputs was minimized.
        learning_rate: of the first group, at the first update.
        schedule: that rate and those that the scheduler would set next; only that rate where there is no scheduler.
        gradient_norms: norm of the whole gradient before each update.
        chance: the loss of a prediction that says nothing (ln C, the mean of y squared), where it is known.
        step_seconds: time of the fastest forward, backward and update with little or no measuring; no rule may judge by it.
        location: the line of an observed script that made the optimizer; None for a build function.
    """

    parameters: tuple[TrackedParameter, ...]
    losses: tuple[float, ...]
    steps: int
    own_optimizer: bool
    samples: int = 0
    dead: tuple[DeadGrowth, ...] = ()
    non_finite_step: int | None = None
    non_finite_at: str | None = None
    non_finite_location: Location | None = None
    non_finite_module: str = ""
    frozen_moved: tuple[str, ...] = ()
    moved_buffers: tuple[str, ...] = ()
    surrogate: bool = False
    optimizer: str = ""
    learning_rate: float | None = None
    schedule: tuple[float, ...] = ()
    gradient_norms: tuple[float, ...] = ()
    chance: float | None = None
    step_seconds: float | None = None
    module_path: str = ""
    location: Location | None = None

    def require_own_optimizer(self) -> StepStats:
        """This, or Skip where the user gave no optimizer or no loss."""
        if not self.own_optimizer:
            raise Skip("no optimizer given")
        if self.surrogate:
            raise Skip("no loss given")
        return self

    @cached_property
    def update_ratios(self) -> tuple[float, ...]:
        """Update-to-weight ratios of all tensors that have one."""
        return _finite(parameter.update_ratio for parameter in self._updated)

    @cached_property
    def gradient_size(self) -> float | None:
        """Root mean square of the gradient's entries, the largest over the steps, median over the weight tensors; None without any."""
        return median(self._gradient_sizes) if self._gradient_sizes else None

    @property
    def largest_gradient_size(self) -> float:
        """The same of the weight tensor with the largest."""
        return max(self._gradient_sizes, default=0.0)

    @cached_property
    def _gradient_sizes(self) -> tuple[float, ...]:
        weights = (item for item in self.parameters if item.dims > 1 and item.numel)
        norms = ((item, [norm for norm in item.gradients if norm and math.isfinite(norm)]) for item in weights)
        return tuple(max(found) / math.sqrt(item.numel) for item, found in norms if found)

    @property
    def largest_update_ratio(self) -> float:
        """The largest update of any weight tensor over its norm; 0.0 where no tensor has a ratio."""
        return max(_finite(parameter.largest_update_ratio for parameter in self._updated), default=0.0)

    @property
    def _updated(self) -> tuple[TrackedParameter, ...]:
        return tuple(parameter for parameter in self.parameters if parameter.requires_grad and parameter.in_optimizer)

    @property
    def median_update_ratio(self) -> float | None:
        """Median over tensors, or None where no tensor has a ratio."""
        return median(self.update_ratios) if self.update_ratios else None

    @property
    def rise(self) -> float:
        """The last finite loss over the first, or over the loss of chance where that is larger; inf where it became no number."""
        if self.non_finite_step is not None:
            return math.inf
        scale = max(abs(self.losses[0]), self.chance or 0.0)
        return self.losses[-1] / scale if self.losses and scale > 0.0 else 0.0

    @property
    def is_falling(self) -> bool:
        """Whether the loss fell over the steps without a spike above half again its first value."""
        if self.non_finite_step is not None or not self.losses:
            return False
        first = self.losses[0]
        return self.losses[-1] < first and max(self.losses) - first <= 0.5 * abs(first)

    @property
    def is_coming_back(self) -> bool:
        """Whether the loss rose and is on its way down again, with most of the rise behind it when the steps ended.

        Momentum overshoots so in its first steps at rates that nets with batch norm go on to train well with.
        """
        if self.non_finite_step is not None or len(self.losses) < 4:
            return False
        first, last, peak = self.losses[0], self.losses[-1], max(self.losses)
        return last < self.losses[-2] < peak and last - first < 0.25 * (peak - first)

    @property
    def gradient_spike(self) -> tuple[int, float] | None:
        """(step, ratio) where the gradient's norm is the largest of all, over the median of those before it.

        None where the largest norm is one of the first three: norms that die out as the batch is learned are no spikes. And
        what comes after they have died out is compared with those before.
        """
        norms = self.gradient_norms
        if len(norms) < 4 or not all(map(math.isfinite, norms)):
            return None
        step = max(range(len(norms)), key=lambda index: norms[index])
        alive = [norm for norm in norms[:step] if norm > _DIED_OUT * norms[0]] if step >= 3 else []
        before = median(alive) if alive else 0.0
        return (step, norms[step] / before) if before > 0.0 else None

    @property
    def is_warming_up(self) -> bool:
        """Whether the scheduler is about to raise the rate."""
        return bool(self.schedule) and max(self.schedule) > 1.5 * self.schedule[0]

    @cached_property
    def _by_name(self) -> Mapping[str, TrackedParameter]:
        return {parameter.name: parameter for parameter in reversed(self.parameters)}

    def parameter(self, name: str) -> TrackedParameter | None:
        """The parameter with this qualified name."""
        return self._by_name.get(name)


def _finite(numbers: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(number for number in numbers if number is not None and math.isfinite(number))
