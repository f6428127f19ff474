"""One recorded call as a transfer rule sees it: its arguments, the axes of its inputs, and the axes it may make."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from nnlint.capture.axes.answers import OpAxes
from nnlint.capture.axes.axis import (
    CONSTANT,
    DATA,
    PIECE,
    RANDOM,
    REPEATED,
    UNKNOWN,
    Axis,
    Digit,
    Dim,
    axes_in,
    best_of,
    roots_of,
    shape_of,
    size_of,
    whole,
)
from nnlint.capture.axes.regroup import regroup

if TYPE_CHECKING:
    from nnlint.capture.op import Op


class Source(Protocol):
    """What a call asks of the flow it is part of."""

    def next_key(self) -> int:
        """The key of the next axis."""

    def value(self, node: Any) -> OpAxes | None:
        """What is known of a node's value; None for what is no tensor of the graph."""

    def op(self, node: Any) -> Op:
        """The op of a node."""

    def is_padded(self, op: Op) -> bool:
        """Whether the value was padded, and only moved about since."""

    def name(self, axis: Axis, role: str) -> None:
        """Say what an axis is, where nothing has said it before."""


class Call:
    """A call with the axes of its tensor arguments."""

    def __init__(self, op: Op, flow: Source) -> None:
        self.op = op
        self._flow = flow
        #: The op as called: what is recognized as a softmax may be written as a division.
        self.spelled: str = op.node.meta.get("written_as", op.name)
        self.args: Sequence[Any] = op.node.args
        self.kwargs = op.node.kwargs
        self.shape: tuple[int, ...] = op.shape or ()

    # ---------------------------------------------------------------- arguments

    def arg(self, position: int, name: str, default: Any = None) -> Any:
        """A raw argument as called, by place or keyword."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[position] if position < len(self.args) else default

    def has(self, value: Any) -> bool:
        """Whether an argument is a tensor of the graph."""
        return self._flow.value(value) is not None

    def of(self, value: Any) -> OpAxes:
        """What is known of a tensor argument."""
        found = self._flow.value(value)
        assert found is not None  # asked by `has` before
        return found

    def tensor(self, position: int, *names: str) -> Any:
        """The node of a tensor argument; None where it is not one."""
        for name in names:
            if self.has(self.kwargs.get(name)):
                return self.kwargs[name]
        value = self.args[position] if position < len(self.args) else None
        return value if self.has(value) else None

    @property
    def tensors(self) -> list[Any]:
        """All tensor arguments, those in lists too, in order."""
        return [node for node in self.op.node.all_input_nodes if self.has(node)]

    @property
    def first(self) -> OpAxes:
        """The first tensor argument; a value without dimensions where there is none."""
        given = self.tensor(0, "input", "self", "x")
        if given is None:
            given = next(iter(self.tensors), None)
        return self.of(given) if given is not None else OpAxes(data=False)

    def maker(self, node: Any) -> Op:
        """The op of a tensor argument."""
        return self._flow.op(node)

    def dim(self, value: Any, rank: int) -> int | None:
        """A dimension without sign; None for what is no dimension of that rank."""
        fits = isinstance(value, int) and not isinstance(value, bool) and -rank <= value < rank
        return value % rank if fits else None

    def ints(self, position: int, name: str) -> list[int]:
        """A list of ints given as one argument or as several: `permute(0, 2, 1)`, `permute((0, 2, 1))`, `dims=...`."""
        given = self.kwargs.get(name, self.args[position:])
        if isinstance(given, (list, tuple)) and len(given) == 1 and isinstance(given[0], (list, tuple)):
            given = given[0]
        given = [given] if isinstance(given, int) else given
        return list(given) if isinstance(given, (list, tuple)) and all(isinstance(v, int) for v in given) else []

    # ---------------------------------------------------------------- axes

    def axis(self, size: int, role: str = "", *, origin: str = DATA, roots: frozenset[int] = frozenset()) -> Axis:
        """A new axis; its own root unless it has others."""
        key = self._flow.next_key()
        return Axis(key, size, role, origin, roots or frozenset({key}))

    def new(self, size: int, role: str = "", *, origin: str = DATA) -> Dim:
        """A dimension that is a new axis."""
        return whole(self.axis(size, role, origin=origin))

    def derived(self, dim: Dim, size: int, role: str = "") -> Dim:
        """A dimension made of some entries of another: the same one where all are taken."""
        if size == size_of(dim):
            return dim
        if size == 1 or not dim:
            return self.new(size, role)
        if dim[0].axis.role == PIECE and size % size_of(dim[1:]) == 0:
            return (*self.new(size // size_of(dim[1:]), PIECE), *dim[1:])
        axes = axes_in([dim])
        role = role or (axes[0].role if len(axes) == 1 else "")
        origin = max(axes, key=lambda axis: axis.rank).origin
        scrambled = next((axis.scrambled_by for axis in axes if axis.scrambled_by is not None), None)
        made = self.axis(size, role, origin=origin, roots=roots_of(dim))
        return whole(replace(made, scrambled_by=scrambled))

    def name(self, dim: Dim, role: str) -> None:
        """Say what a dimension is that is one axis of the data without a role."""
        if len(dim) == 1 and not dim[0].axis.role and dim[0].axis.origin == DATA:
            self._flow.name(dim[0].axis, role)

    def unknown(self, shape: Sequence[int]) -> tuple[Dim, ...]:
        """Dimensions of which nothing is known but their sizes."""
        return tuple(self.new(size, origin=UNKNOWN) for size in shape)

    def fresh(self, shape: Sequence[int], *, origin: str, role: str = "") -> tuple[Dim, ...]:
        """New dimensions for a shape."""
        return tuple(self.new(size, role, origin=origin) for size in shape)

    def made(self, dims: Sequence[Dim], **more: Any) -> OpAxes:
        """The answer: these dimensions, or unknown ones where they do not fit the recorded shape."""
        inputs = [self.of(node) for node in self.tensors]
        more.setdefault("data", any(value.data for value in inputs))
        more.setdefault("random", any(value.random for value in inputs))
        fits = shape_of(dims) == self.shape
        return OpAxes(self.distinct(dims) if fits else self.unknown(self.shape), **more)

    def distinct(self, dims: Sequence[Dim]) -> tuple[Dim, ...]:
        """The dimensions, with a twin for an axis that stands in two of them: queries and keys of one sequence."""
        seen: set[tuple[int, int]] = set()
        found: list[Dim] = []
        for dim in dims:
            again = {digit.axis.key for digit in dim if (digit.axis.key, digit.stride) in seen}
            seen.update((digit.axis.key, digit.stride) for digit in dim)
            found.append(self._twin(dim) if again else dim)
        return tuple(found)

    def _twin(self, dim: Dim) -> Dim:
        twins = {
            axis: replace(axis, key=self._flow.next_key(), twin=axis.key if axis.twin is None else axis.twin)
            for axis in axes_in([dim])
        }
        return tuple(Digit(twins[digit.axis], digit.stride, digit.size) for digit in dim)

    def viewed(self, value: OpAxes, shape: Sequence[int], **more: Any) -> OpAxes:
        """The answer for a view or reshape of `value` to `shape`."""
        if math.prod(shape) != math.prod(shape_of(value.dims)):
            return self.made(self.unknown(shape), **more)
        dims, cuts = regroup(value.dims, shape, self._kept_together)
        real = () if cuts and self._flow.is_padded(self.op) else tuple(cuts)
        return self.made(dims, cuts=real, **more)

    def _kept_together(self, digits: tuple[Digit, ...], *, scrambled: bool) -> Axis:
        by = self.op.index if scrambled and not self._flow.is_padded(self.op) else None
        roots = roots_of(digits)
        origin = max((digit.axis for digit in digits), key=lambda axis: axis.rank).origin
        return Axis(self._flow.next_key(), size_of(digits), "", origin, roots, digits, by)

    def aligned(self, values: Iterable[OpAxes]) -> tuple[Dim, ...]:
        """The dimensions of values that broadcast against each other: from the right, each named by the best of them."""
        lists = [value.dims for value in values]
        rank = max((len(dims) for dims in lists), default=0)
        padded = [((),) * (rank - len(dims)) + tuple(dims) for dims in lists]
        return tuple(best_of(column) for column in zip(*padded, strict=True)) if padded else ()

    def same(self, **more: Any) -> OpAxes:
        """The answer for an op that leaves the first argument's axes as they are."""
        return self.made(self.first.dims, **more)

    def constant(self, *, random: bool = False, uniform: bool = False) -> OpAxes:
        """The answer for an op that makes a value of its own; a uniform one is the same along every axis."""
        origin = RANDOM if random else REPEATED if uniform else CONSTANT
        return OpAxes(self.fresh(self.shape, origin=origin), data=False, random=random)
