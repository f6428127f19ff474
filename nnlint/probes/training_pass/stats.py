"""What one training-mode forward and backward measured, layer by layer. Plain numbers: imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from nnlint.capture.graph import Graph
from nnlint.capture.loss_call import AtOp
from nnlint.capture.op import Op
from nnlint.finding import Location, Skip


@dataclass(frozen=True)
class LayerStats(AtOp):
    """Statistics of one op's (first) output over the whole batch.

    Attributes:
        op: the op.
        mean, std, abs_max: of all values. `abs_max` bounds from above where only the norm was measured.
        finite: whether no NaN or Inf was seen.
        zeros: fraction of exact zeros (rectifiers only, else None).
        units, never_active: channels of a rectifier, and how many of them are zero for every sample and position.
        saturated: fraction of values in the flat part (sigmoid outside (.02, .98), tanh beyond .97; else None).
        peak: largest probability a query gives one of its keys, mean over queries with enough keys (softmax and attention
            of a few samples, else None): near 1 where attention picks a single key.
        histogram: counts of magnitudes (see `histograms.py`); empty unless the report draws pictures.
        sample_spread: std over samples (mean over units) divided by the total std: near 0 the samples are indistinguishable.
    """

    op: Op
    mean: float
    std: float
    norm: float
    numel: int
    finite: bool
    zeros: float | None = None
    units: int | None = None
    never_active: int | None = None
    saturated: float | None = None
    sample_spread: float | None = None
    peak: float | None = None
    histogram: tuple[int, ...] = ()

    @property
    def rms(self) -> float:
        """Root mean square of the values."""
        return self.norm / math.sqrt(self.numel) if self.numel else 0.0

    @property
    def label(self) -> str:
        """The op's label."""
        return self.op.label


@dataclass(frozen=True)
class ForwardStats:
    """All measured layers of the forward pass, in execution order.

    Attributes:
        samples: batch size.
        loss: value of the loss, None where there is none.
        non_finite: the first op that made NaN or Inf out of finite inputs, with the range of those inputs; None in a clean pass.
        assumed: the inputs are noise made by nnlint, not the user's batch.
        outputs_finite: whether the tensors that the model returned hold neither NaN nor Inf.
    """

    layers: tuple[LayerStats, ...]
    samples: int
    loss: float | None
    graph: Graph
    non_finite: NonFinite | None = None
    assumed: bool = False
    outputs_finite: bool = True

    @cached_property
    def _by_op(self) -> dict[Op, LayerStats]:
        return {layer.op: layer for layer in self.layers}

    def of(self, op: Op | None) -> LayerStats | None:
        """The statistics of this op's output, or None where it was not measured."""
        return self._by_op.get(op) if op is not None else None

    def before(self, layer: LayerStats) -> LayerStats | None:
        """The nearest measured layer upstream along first inputs: a rectifier's pre-activation."""
        chain = self.graph.chain_back(layer.op)
        next(chain)
        return next((found for op in chain if (found := self.of(op)) is not None), None)

    def rectifiers(self) -> Iterator[LayerStats]:
        """Layers whose op can go silent: relu, relu6, threshold."""
        return (layer for layer in self.layers if layer.never_active is not None)

    def linear_maps(self) -> tuple[LayerStats, ...]:
        """Pre-activations: outputs of linear, convolution and matrix products with a parameter."""
        return tuple(layer for layer in self.layers if layer.op.is_kind("linear-map"))


@dataclass(frozen=True)
class NonFinite:
    """The op where the first NaN or Inf appeared."""

    op: Op
    what: str
    input_ranges: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class NonFiniteGradient:
    """The op whose backward made the first NaN or Inf.

    Attributes:
        op: the op of the forward; None where the backward function belongs to none that was recorded.
        function: autograd's name of the backward function, `LogBackward0`.
        what: "NaN" or "Inf".
        input_ranges: of the op's forward inputs.
    """

    op: Op | None
    function: str
    what: str
    input_ranges: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class LayerGradient(AtOp):
    """Gradient of the loss with respect to one op's output."""

    op: Op
    norm: float
    numel: int
    histogram: tuple[int, ...] = ()

    @property
    def rms(self) -> float:
        """Root mean square of the gradient's entries."""
        return self.norm / math.sqrt(self.numel) if self.numel else 0.0

    @property
    def finite(self) -> bool:
        """Whether the gradient has neither NaN nor Inf."""
        return math.isfinite(self.norm)


@dataclass(frozen=True)
class ParameterGradient:
    """Gradient of one trainable parameter after the backward pass; `norm` is None where autograd gave none.

    The histograms, of the gradient and of the weights, are empty unless the report draws pictures.
    """

    name: str
    norm: float | None
    weight_norm: float
    numel: int
    location: Location | None = None
    histogram: tuple[int, ...] = ()
    weight_histogram: tuple[int, ...] = ()

    @property
    def module_path(self) -> str:
        """Path of the module that owns the parameter."""
        return self.name.rpartition(".")[0]

    @property
    def zero(self) -> bool:
        """Whether the gradient exists and is exactly zero."""
        return self.norm == 0.0

    @property
    def finite(self) -> bool:
        """Whether the gradient has neither NaN nor Inf (an absent one is finite)."""
        return self.norm is None or math.isfinite(self.norm)


@dataclass(frozen=True)
class BackwardStats:
    """The backward pass: gradients with respect to activations and to parameters.

    Attributes:
        surrogate: no loss was given; the gradients are those of a random projection of the outputs.
        non_finite: the op whose backward made the first NaN or Inf out of finite gradients, where one did.
    """

    layers: tuple[LayerGradient, ...]
    parameters: tuple[ParameterGradient, ...]
    graph: Graph
    surrogate: bool = False
    non_finite: NonFiniteGradient | None = None

    @property
    def finite(self) -> bool:
        """Whether every measured gradient is finite."""
        return all(layer.finite for layer in self.layers) and all(gradient.finite for gradient in self.parameters)

    @cached_property
    def _by_op(self) -> Mapping[Op, LayerGradient]:
        return {layer.op: layer for layer in self.layers}

    def of(self, op: Op | None) -> LayerGradient | None:
        """Gradient with respect to this op's output, where it was measured."""
        return self._by_op.get(op) if op is not None else None

    @cached_property
    def _by_name(self) -> Mapping[str, ParameterGradient]:
        return {gradient.name: gradient for gradient in reversed(self.parameters)}

    def parameter(self, name: str) -> ParameterGradient | None:
        """Gradient of the parameter with this qualified name."""
        return self._by_name.get(name)

    def require_loss(self) -> BackwardStats:
        """This, or Skip when the gradients are only those of a random projection."""
        if self.surrogate:
            raise Skip("no loss given")
        return self
