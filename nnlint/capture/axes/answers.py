"""What axis flow answers about one op, in a rule's words. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnlint.capture.axes.axis import UNKNOWN, Dim, axes_in
from nnlint.capture.axes.regroup import Cut

if TYPE_CHECKING:
    from nnlint.capture.op import Op


@dataclass(frozen=True, slots=True)
class Contraction:
    """One axis that a product sums over.

    Attributes:
        left, right: the dimension as each operand has it; `right` is empty for a weight.
        left_op, right_op: the operands; `right_op` None for a weight.
    """

    left: Dim
    left_op: Op
    right: Dim = ()
    right_op: Op | None = None


@dataclass(frozen=True, slots=True)
class Along:
    """A dimension of the first input that a softmax, norm, reduction or scan runs along."""

    index: int
    dim: Dim


@dataclass(frozen=True, slots=True)
class Selection:
    """One entry taken from a dimension: `x[:, -1]`; `kept` where the dimension stays, with size 1: `x[:, -1:]`."""

    index: int
    dim: Dim
    entry: int
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Picked:
    """Entries taken from a dimension by a tensor of indices: `x[rows, lengths - 1]`."""

    index: int
    dim: Dim
    by: Op


@dataclass(frozen=True, slots=True)
class Steps:
    """What a recurrent or attention layer takes for positions and for samples; `layers` is the first axis of its states."""

    positions: Dim
    samples: Dim


@dataclass(frozen=True, slots=True)
class OpAxes:
    """The axes of one op.

    Attributes:
        dims: the dimensions of its (first) output, one for each of the shape.
        data: whether the value depends on the batch, not on parameters and constants alone.
        random: whether it is drawn.
        contracted: what a product (linear, matmul, einsum, convolution, attention) sums over.
        along: what a softmax, norm, reduction or scan runs along.
        selected: single entries taken by an index.
        picked: dimensions from which tensors of indices take entries.
        unbound: of an op that takes a dimension apart: that dimension.
        steps: positions and samples of a recurrent or attention layer.
        cuts: where a view or reshape cuts memory across two axes.
        parts: dimensions of further outputs, by path and shape; None for an op with one output.
    """

    dims: tuple[Dim, ...] = ()
    data: bool = True
    random: bool = False
    contracted: tuple[Contraction, ...] = ()
    along: tuple[Along, ...] = ()
    selected: tuple[Selection, ...] = ()
    picked: tuple[Picked, ...] = ()
    unbound: Selection | None = None
    steps: Steps | None = None
    cuts: tuple[Cut, ...] = ()
    parts: Callable[[tuple[object, ...], tuple[int, ...]], tuple[Dim, ...] | None] | None = field(
        default=None, repr=False, compare=False
    )

    @property
    def known(self) -> bool:
        """Whether every dimension is known."""
        return all(axis.origin != UNKNOWN for axis in axes_in(self.dims))
