"""The walk: every op of the graph in its order, its axes from those of its inputs. Made once for a graph, when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nnlint.capture.axes import joins, layouts, pointwise, products, sequences
from nnlint.capture.axes.answers import Along, OpAxes
from nnlint.capture.axes.axis import CONSTANT, DATA, UNKNOWN, Axis, Digit, Dim, axes_in, roots_of, size_of, whole
from nnlint.capture.axes.batch import Samples
from nnlint.capture.axes.call import Call
from nnlint.kinds import CLASS_LOSSES

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op

_RULES: Mapping[str, Callable[[Call], OpAxes]] = {
    **pointwise.RULES, **sequences.RULES, **products.RULES, **joins.RULES, **layouts.RULES,
}  # fmt: skip
#: Convolutions and their like by the number of places: what they take for samples stands first.
_PLACES = {f"{name}{rank}d": rank for name in ("conv", "conv_transpose") for rank in (1, 2, 3)}
_MOVED = ("view", "identity", "cast")
_SLICED = frozenset({"getitem", "narrow", "slice"})
_PADDED = frozenset({"pad", "constant_pad_nd", "cat", "concat"})


class AxisFlow:
    """What every dimension of every value means.

    Attributes:
        batch: the axis of the samples; None where none is known.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._keys = 0
        self._values: dict[Any, OpAxes] = {}
        self._samples = Samples.of(graph)
        self.batch: Axis | None = None
        self._confirmed = False
        self._roles: dict[int, str] = {}
        for op in graph.ops:
            self._values[op.node] = self._axes_of(op)

    # ---------------------------------------------------------------- answers

    def of(self, op: Op) -> OpAxes:
        """The axes of an op."""
        return self._values[op.node]

    @property
    def batch_is_certain(self) -> bool:
        """Whether more than its place says that the batch is the batch: targets, the loader, a convolution over it."""
        return self.batch is not None and (self._samples.settled or self._confirmed)

    def has_batch(self, dim: Dim) -> bool:
        """Whether samples are inside a dimension, alone or with other axes."""
        return self.batch is not None and self.batch.key in roots_of(dim)

    def is_batch(self, dim: Dim) -> bool:
        """Whether a dimension is the samples and nothing else, all of them."""
        if self.batch is None or len(dim) != 1:
            return False
        axis = dim[0].axis
        return dim[0].is_whole and axis.roots == {self.batch.key} and axis.size == self.batch.size

    def scrambled(self, dims: Iterable[Dim]) -> list[Axis]:
        """The axes in some dimensions that a scrambled view made."""
        return [axis for axis in axes_in(dims) if axis.scrambled_by is not None]

    def role(self, axis: Axis) -> str:
        """What an axis is, by its making or by what read it; empty where nothing tells."""
        if axis.role:
            return axis.role
        if self.batch is not None and axis.roots == {self.batch.key}:
            return "batch"
        return (
            next((self._roles[root] for root in axis.roots if root in self._roles), "") if len(axis.roots) == 1 else ""
        )

    def describe(self, dim: Dim) -> str:
        """A dimension in words: `batch`, `height x width`, `part of feature`, `time + 1 more`."""
        return " x ".join(map(self._digit, dim)) or "1"

    def _digit(self, digit: Digit) -> str:
        axis = digit.axis
        if axis.sources:
            return "mixed " + "/".join(dict.fromkeys(self._digit(part) for part in axis.sources))
        named = "unknown" if axis.origin == UNKNOWN else self.role(axis) or "axis"
        return named if digit.is_whole else f"part of {named}"

    def shares(self) -> tuple[int, int]:
        """How many ops with dimensions there are, inputs and parameters aside, and of how many all are known."""
        asked = [op for op in self._graph.ops if op.shape and not op.is_kind("input", "parameter", "buffer")]
        return len(asked), sum(self.of(op).known for op in asked)

    # ---------------------------------------------------------------- what a call asks

    def next_key(self) -> int:
        """The key of the next axis."""
        self._keys += 1
        return self._keys

    def value(self, node: Any) -> OpAxes | None:
        """What is known of a node's value; None for what is no tensor of the graph."""
        return self._values.get(node) if node.__class__.__name__ == "Node" else None

    def name(self, axis: Axis, role: str) -> None:
        """Say what an axis is, where nothing has said it before."""
        if len(axis.roots) == 1:
            self._roles.setdefault(next(iter(axis.roots)), role)

    def op(self, node: Any) -> Op:
        """The op of a node."""
        return self._graph.of(node)

    def is_padded(self, op: Op) -> bool:
        """Whether the value was made longer, and only moved about or cut since: views of such values shift rows on purpose."""
        current = op.input
        while current is not None and (current.is_kind(*_MOVED) or current.name in _SLICED):
            current = current.input
        if current is None or current.name not in _PADDED:
            return False
        return current.name not in ("cat", "concat") or not all(self.of(part).data for part in current.inputs)

    # ---------------------------------------------------------------- the walk

    def _axes_of(self, op: Op) -> OpAxes:
        if op.is_kind("input"):
            return self._given(op)
        if op.is_kind("parameter", "buffer", "unregistered-parameter"):
            return OpAxes(tuple(self._new(size, origin=CONSTANT) for size in op.shape or ()), data=False)
        if op.is_kind("unknown") and not op.inputs and not self._may_hold_samples(op):
            return OpAxes(tuple(self._new(size, origin=CONSTANT) for size in op.shape or ()), data=False)
        call = Call(op, self)
        if op.shape is None:
            return OpAxes()
        if op.name == "getitem" and "output" in op.node.meta:
            return self._part(call)
        rule = _RULES.get(call.spelled, self._otherwise(op))
        try:
            found = rule(call)
        except (IndexError, ValueError, TypeError, ZeroDivisionError):
            # A call in a form that the rule does not know: the axes are unknown, and rules are silent.
            found = call.made(call.unknown(call.shape))
        self._look_at(op, call)
        return self._as_recognized(op, found)

    def _as_recognized(self, op: Op, found: OpAxes) -> OpAxes:
        """A softmax that is written out runs along an axis like one that is called."""
        dim = op.argument("dim") if "written_as" in op.node.meta else None
        if not isinstance(dim, int) or not -len(found.dims) <= dim < len(found.dims):
            return found
        place = dim % len(found.dims)
        return replace(found, along=(Along(place, found.dims[place]),))

    def _may_hold_samples(self, op: Op) -> bool:
        """Whether a tensor of unknown origin may be computed from the batch: a table kept as an attribute has other sizes."""
        return op.shape is None or op.requires_grad or self._samples.count in op.shape

    @staticmethod
    def _otherwise(op: Op) -> Callable[[Call], OpAxes]:
        if op.is_kind("loss"):
            return pointwise.loss
        return lambda call: call.made(call.unknown(call.shape))

    def _part(self, call: Call) -> OpAxes:
        """One of several outputs."""
        whole_op = call.of(call.args[0])
        path = tuple(call.op.node.meta["output"])
        dims = whole_op.parts(path, call.shape) if whole_op.parts is not None else None
        more = {"data": whole_op.data, "random": whole_op.random, "along": whole_op.along}
        if whole_op.unbound is not None and len(path) == 1 and isinstance(path[0], int):
            more["selected"] = (replace(whole_op.unbound, entry=path[0]),)
        return call.made(dims if dims is not None else call.unknown(call.shape), **more)

    def _new(self, size: int, role: str = "", *, origin: str = DATA) -> Dim:
        key = self.next_key()
        return whole(Axis(key, size, role, origin, frozenset({key})))

    def _given(self, op: Op) -> OpAxes:
        at = self._samples.axis(op)
        dims = [self._new(size) for size in op.shape or ()]
        if at is not None:
            if self.batch is None:
                self.batch = Axis(self.next_key(), self._samples.count, "batch", DATA, frozenset({self._keys}))
            dims[at] = whole(self.batch)
        elif op.node.meta.get("is_target"):
            dims = self._flat(dims)
        return OpAxes(tuple(dims))

    def _flat(self, dims: list[Dim]) -> list[Dim]:
        """The dimensions of a target; of a flat one that goes through samples and steps, those two."""
        flat = self._graph.facts.flat_targets
        if flat is None or self.batch is None or len(dims) != 1 or size_of(dims[0]) != flat[0] * flat[1]:
            return dims
        parts = [self._new(flat[0]), self._new(flat[1])]
        parts[flat[2]] = whole(self.batch)
        return [parts[0] + parts[1]]

    def _look_at(self, op: Op, call: Call) -> None:
        """A convolution, a batch norm or a cross-entropy of maps over the axis taken for the batch says that it is."""
        rank = _PLACES.get(op.name)
        dims = call.first.dims
        of_maps = op.is_kind("batch-norm") or op.name in CLASS_LOSSES
        if (rank is not None and len(dims) == rank + 2) or (of_maps and len(dims) > 2):
            self._confirmed = self._confirmed or self.is_batch(dims[0])

    def values(self) -> Iterator[tuple[Op, OpAxes]]:
        """All ops with their axes, in execution order."""
        return ((op, self._values[op.node]) for op in self._graph.ops)
