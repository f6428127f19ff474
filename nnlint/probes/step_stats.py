"""Evidence `StepStats`: what a few real optimizer steps did. Plain numbers: imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from nnlint.finding import Location, Skip


@dataclass(frozen=True)
class TrackedParameter:
    """One parameter over the steps.

    Attributes:
        gradients: norm of the gradient before each update; None where autograd gave none.
        moved: Euclidean norm of the parameter's whole change over the steps.
        weight_norm: norm before the first step.
        in_optimizer: whether the optimizer holds it.
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
    decay_norm: float = 0.0
    location: Location | None = None

    @property
    def module_path(self) -> str:
        """Path of the module that owns the parameter."""
        return self.name.rpartition(".")[0]

    @property
    def never_differentiated(self) -> bool:
        """Whether autograd gave no gradient at any step."""
        return bool(self.gradients) and all(norm is None for norm in self.gradients)

    @property
    def always_zero(self) -> bool:
        """Whether a gradient came at every step and was exactly zero each time, with real updates between."""
        return len(self.gradients) > 1 and all(norm == 0.0 for norm in self.gradients)

    @property
    def rms(self) -> float:
        """Root mean square of the weights before the first step."""
        return self.weight_norm / math.sqrt(self.numel) if self.numel else 0.0

    @property
    def update_ratio(self) -> float | None:
        """Mean change per step over the weight norm; None for vectors and for weights too near zero to divide by.

        LayerScale and zero-initialized tensors have ratios of 1e3 and more in healthy nets (docs/calibration.md).
        """
        if self.dims < 2 or self.rms <= 1e-4 or not self.steps:
            return None
        return self.moved / self.steps / self.weight_norm


@dataclass(frozen=True)
class DeadGrowth:
    """Dead units of one rectifier before and after the steps."""

    module_path: str
    label: str
    location: Location | None
    units: int
    before: int
    after: int


@dataclass(frozen=True)
class StepStats:
    """The steps probe.

    Attributes:
        losses: loss before each update, and after the last.
        steps: updates made.
        own_optimizer: the steps were made by the user's optimizer (else by a plain SGD of nnlint's).
        non_finite_step: number of updates after which the loss was first NaN or Inf; None where it never was.
        non_finite_at: label of the op where that NaN or Inf appeared.
        moved_buffers: buffers (batch-norm statistics) of modules without trainable parameters that changed.
        surrogate: no loss was given: a random projection of the outputs was minimized.
    """

    parameters: tuple[TrackedParameter, ...]
    losses: tuple[float, ...]
    steps: int
    own_optimizer: bool
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
        ratios = (
            parameter.update_ratio
            for parameter in self.parameters
            if parameter.requires_grad and parameter.in_optimizer
        )
        return tuple(ratio for ratio in ratios if ratio is not None and math.isfinite(ratio))

    @property
    def median_update_ratio(self) -> float | None:
        """Median over tensors, or None where no tensor has a ratio."""
        return median(self.update_ratios) if self.update_ratios else None

    def parameter(self, name: str) -> TrackedParameter | None:
        """The parameter with this qualified name."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)
