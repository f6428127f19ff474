"""The operation graph in a rule writer's words: a view over `torch.fx.Graph`. Imports no torch."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnlint import kinds as taxonomy
from nnlint.capture.facts import RunFacts
from nnlint.capture.loss_call import LossCall
from nnlint.capture.walks import reached
from nnlint.finding import Location

if TYPE_CHECKING:
    from torch import fx

    from nnlint.capture.axes.answers import OpAxes
    from nnlint.capture.axes.flow import AxisFlow
    from nnlint.capture.formulas.reading import Formula


class Op:
    """One operation of the graph: a node of `torch.fx.Graph` with its place, shapes and kinds."""

    def __init__(self, graph: Graph, node: fx.Node, index: int) -> None:
        self._graph = graph
        self.node = node
        self.index = index
        self.name: str = node.meta.get("name", node.name)

    def __repr__(self) -> str:
        return f"<Op {self.index} {self.label}>"

    def _meta(self, key: str, default: Any = None) -> Any:
        return self.node.meta.get(key, default)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of the taxonomy (`nnlint.kinds`), and "linear-map" for a matrix product with a parameter."""
        return self._kinds

    @cached_property
    def _kinds(self) -> frozenset[str]:
        special = self._meta("kind")
        if special is not None:
            return frozenset({special})
        known = taxonomy.info(self.name).kinds
        if "matmul" in known and self.parameters:
            return known | {"linear-map"}
        return known

    def is_kind(self, *kinds: str) -> bool:
        """Whether the op is of any of these kinds."""
        return not self._kinds.isdisjoint(kinds)

    @property
    def range(self) -> tuple[float, float] | None:
        """Closed interval of the op's values as the taxonomy states it."""
        return taxonomy.info(self.name).range

    @property
    def module_path(self) -> str:
        """Dotted path of the innermost module that made the call; empty for the model itself and for a loss function."""
        return "" if self.in_loss else str(self._meta("module_path", ""))

    @property
    def module_type(self) -> str:
        """Class name of the innermost module."""
        return str(self._meta("module_type", ""))

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of all modules being called, outermost first."""
        return tuple(self._meta("modules", ()))

    @property
    def call_location(self) -> Location | None:
        """The innermost line that made the call, the user's or a library's; None inside an `nn.Sequential` of torch modules."""
        location = self._meta("code_location")
        return location if isinstance(location, Location) else None

    @property
    def construction(self) -> Location | None:
        """Where the innermost module was constructed."""
        return self._graph.constructions.get(self.module_path) if self.module_path else None

    @property
    def location(self) -> Location | None:
        """The line to show: of the call (the user's line where there is one), or of the module's construction."""
        location = self._meta("location")
        return location if isinstance(location, Location) else self.construction

    @property
    def function(self) -> str:
        """Qualified name of the user function that made the call."""
        return (self.call_location.function or "") if self.call_location else ""

    @property
    def label(self) -> str:
        """What to call the op in a message: `conv1 (Conv2d)`, `sigmoid in Net.forward`."""
        if self.is_kind("input", "parameter"):
            return str(self._meta("label", self.name))
        if self.in_loss and self._meta("own_module"):
            return self.module_type
        if self._meta("own_module"):
            return f"{self.module_path} ({self.module_type})"
        place = self.module_path or self.function
        return f"{self.name} in {place}" if place else self.name

    @property
    def in_loss(self) -> bool:
        """Whether the op was made by the loss call, not by the model."""
        return bool(self._meta("in_loss"))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of the (first) output; None where it is unknown."""
        shape = self._meta("shape")
        return tuple(shape) if shape is not None else None

    @property
    def dtype(self) -> str:
        """Dtype of the (first) output, without the `torch.` prefix."""
        return str(self._meta("dtype", ""))

    @property
    def requires_grad(self) -> bool:
        """Whether the output requires grad."""
        return bool(self._meta("requires_grad"))

    @property
    def grad_enabled(self) -> bool:
        """Whether grad mode was on at the call."""
        return bool(self._meta("grad_enabled", default=True))

    @property
    def in_cut_checkpoint(self) -> bool:
        """Whether it runs in a reentrant checkpoint none of whose inputs requires grad: no gradient comes back."""
        return bool(self._meta("cut_checkpoint"))

    @property
    def training(self) -> bool:
        """The innermost module's training flag at the call."""
        return bool(self._meta("training", default=True))

    @property
    def is_kept(self) -> bool:
        """Whether somebody still held the value when the run was over: returned, or stored in the module's state."""
        return bool(self._meta("kept"))

    @property
    def is_one_of_several(self) -> bool:
        """Whether a module returned the value beside others, which its caller may well leave unused."""
        return bool(self._meta("one_of_several"))

    @property
    def is_created(self) -> bool:
        """Whether the op stands for a Parameter that the run itself made."""
        return bool(self._meta("created"))

    @property
    def in_place(self) -> bool:
        """Whether the op wrote to one of its inputs."""
        return bool(self._meta("in_place"))

    @cached_property
    def inputs(self) -> tuple[Op, ...]:
        """Ops whose outputs this op reads, in the order of its arguments (parameters included)."""
        return tuple(self._graph.of(node) for node in self.node.all_input_nodes)

    @property
    def activations(self) -> tuple[Op, ...]:
        """Inputs that are no parameters, buffers or constants."""
        written: Formula | None = self._meta("formula")
        read = self.inputs if written is None else tuple(map(self._graph.of, written.nodes))
        return tuple(op for op in read if not op.is_kind("parameter", "buffer"))

    @property
    def input(self) -> Op | None:
        """The op that gives the first tensor argument."""
        return self.activations[0] if "formula" in self.node.meta else self.inputs[0] if self.inputs else None

    @cached_property
    def users(self) -> tuple[Op, ...]:
        """Ops that read this op's output, in execution order."""
        readers = (self._graph.of(node) for node in self.node.users if node.op != "output")
        return tuple(sorted(readers, key=lambda op: op.index))

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Qualified names of the parameters the op reads directly."""
        own = self._meta("reads", ())
        return tuple(own) + tuple(op.name for op in map(_before_writes, self.inputs) if op.is_kind("parameter"))

    @property
    def leading(self) -> Any:
        """The raw positional arguments (nodes for tensors)."""
        return self.node.args

    def argument(self, name: str, default: Any = None) -> Any:
        """A non-tensor argument as called, by its name in the functional's signature; an `Op` for a tensor."""
        if "formula" in self.node.meta:
            return self._unwrapped(self.node.meta["formula"].arguments().get(name, default))
        if name in self.node.kwargs:
            return self._unwrapped(self.node.kwargs[name])
        names = self._signature
        if name in names and names.index(name) < len(self.node.args):
            return self._unwrapped(self.node.args[names.index(name)])
        return self._meta("arguments", {}).get(name, default)

    @cached_property
    def _signature(self) -> tuple[str, ...]:
        known = taxonomy.info(self.name).parameters
        if known:
            return ("input", *known)
        try:
            return tuple(inspect.signature(self.node.target).parameters) if callable(self.node.target) else ("input",)
        except (TypeError, ValueError):
            return ("input",)

    def _unwrapped(self, value: Any) -> Any:
        return self._graph.of(value) if self._graph.holds(value) else value


def _before_writes(op: Op) -> Op:
    """The parameter that an op wrote to in place is still that parameter."""
    while op.in_place and op.inputs:
        op = op.inputs[0]
    return op


class Graph:
    """The recorded graph of one run, loss call included.

    Attributes:
        fx: the `torch.fx.Graph` itself.
        method: "recorded" (a real run), "fake" (shapes only), "symbolic" (no run: neither shapes nor the loss).
        constructions: module path -> source line of its construction, where known.
        facts: what the run showed besides its operations.
    """

    def __init__(
        self,
        graph: fx.Graph,
        *,
        method: str,
        constructions: dict[str, Location] | None = None,
        called_modules: dict[str, int] | None = None,
        loss: fx.Node | None = None,
        complete: bool = True,
        facts: RunFacts | None = None,
    ) -> None:
        self.fx = graph
        self.method = method
        self.complete = complete
        self.facts = facts or RunFacts()
        self.constructions = constructions or {}
        self.module_calls = called_modules or {}
        nodes = [node for node in graph.nodes if node.op != "output"]
        self._by_node = {node: Op(self, node, index) for index, node in enumerate(nodes)}
        self.loss: Op | None = self._by_node[loss] if loss is not None else None
        self._behind: dict[str, frozenset[Op]] = {}
        self._before: dict[str, frozenset[Op]] = {}
        self._output_nodes = [node for out in graph.nodes if out.op == "output" for node in out.all_input_nodes]

    def holds(self, value: Any) -> bool:
        """Whether `value` is a node of this graph."""
        return value.__class__.__name__ == "Node" and value in self._by_node

    def of(self, node: fx.Node) -> Op:
        """The op of a node."""
        return self._by_node[node]

    @cached_property
    def ops(self) -> tuple[Op, ...]:
        """All ops in execution order, inputs and parameters included."""
        return tuple(self._by_node.values())

    @cached_property
    def inputs(self) -> tuple[Op, ...]:
        """The model's input tensors."""
        return tuple(op for op in self.ops if op.is_kind("input") and not op.node.meta.get("is_target"))

    @cached_property
    def outputs(self) -> tuple[Op, ...]:
        """The tensors the model returned."""
        return tuple(self._by_node[node] for node in self._output_nodes)

    @property
    def called_modules(self) -> frozenset[str]:
        """Paths of the modules that were called."""
        return frozenset(self.module_calls)

    @cached_property
    def parameters_read(self) -> frozenset[str]:
        """Qualified names of all parameters that any op read."""
        return frozenset(name for op in self.ops for name in op.parameters)

    def calls(self, *names: str) -> tuple[Op, ...]:
        """Ops with any of these canonical names or kinds, in execution order."""
        wanted = frozenset(names)
        return tuple(op for op in self.ops if op.name in wanted or not op.kinds.isdisjoint(wanted))

    def of_module(self, path: str) -> tuple[Op, ...]:
        """Ops made by this module itself (not by its children)."""
        return tuple(op for op in self.ops if op.module_path == path and not op.is_kind("input", "parameter", "buffer"))

    def producer(self, op: Op, through: Iterable[str] = taxonomy.VALUE_PRESERVING) -> Op:
        """Walk from `op` itself back along first inputs while its kind is in `through`; the op where the walk ends."""
        passing = tuple(through)
        seen = set()
        while op.is_kind(*passing) and op.activations and op.index not in seen:
            seen.add(op.index)
            op = op.activations[0]
        return op

    def consumers(self, op: Op, through: Iterable[str] = taxonomy.VALUE_PRESERVING) -> tuple[Op, ...]:
        """Ops that read `op`'s value, looking through ops of these kinds."""
        passing = tuple(through)
        found: dict[int, Op] = {}
        waiting, seen = list(op.users), set()
        while waiting:
            user = waiting.pop()
            if user.index in seen:
                continue
            seen.add(user.index)
            if user.is_kind(*passing) and user.users:
                waiting.extend(user.users)
            else:
                found[user.index] = user
        return tuple(found[index] for index in sorted(found))

    def ancestors(self, op: Op) -> frozenset[Op]:
        """All ops that `op` depends on."""
        return self.above((op,))

    def descendants(self, op: Op) -> frozenset[Op]:
        """All ops that depend on `op`."""
        return self.below((op,))

    def above(self, ops: Iterable[Op]) -> frozenset[Op]:
        """All ops that any of `ops` depends on: one walk, whatever their number."""
        return reached(ops, lambda current: current.inputs)

    def below(self, ops: Iterable[Op]) -> frozenset[Op]:
        """All ops that depend on any of `ops`: one walk, whatever their number."""
        return reached(ops, lambda current: current.users)

    def follows(self, op: Op, kind: str) -> bool:
        """Whether `op` depends on an op of this kind. Worked out once for all ops: a rule may ask it of each."""
        if kind not in self._behind:
            self._behind[kind] = self.below(other for other in self.ops if other.is_kind(kind))
        return op in self._behind[kind]

    def precedes(self, op: Op, kind: str) -> bool:
        """Whether an op of this kind depends on `op`. Worked out once for all ops: a rule may ask it of each."""
        if kind not in self._before:
            self._before[kind] = self.above(other for other in self.ops if other.is_kind(kind))
        return op in self._before[kind]

    def reaches(self, source: Op, sink: Op) -> bool:
        """Whether `sink` depends on `source` (or is it)."""
        return source is sink or source in self.ancestors(sink)

    @cached_property
    def loss_calls(self) -> tuple[LossCall, ...]:
        """Calls of loss functions that the final loss depends on; all of them where the final loss is unknown."""
        candidates = self.calls("loss")
        if self.loss is not None:
            upstream = self.ancestors(self.loss) | {self.loss}
            candidates = tuple(op for op in candidates if op in upstream)
        return tuple(LossCall(op) for op in candidates)

    @cached_property
    def axis_flow(self) -> AxisFlow:
        """What every dimension of every value means: worked out once, from the graph alone."""
        from nnlint.capture.axes.flow import AxisFlow

        return AxisFlow(self)

    def axes(self, op: Op) -> OpAxes:
        """The axes of an op: of its output, what it contracts, runs along and selects."""
        return self.axis_flow.of(op)

    def chain_back(self, op: Op) -> Iterator[Op]:
        """`op`, then its first activation input, and so on up to an input of the model."""
        current: Op | None = op
        seen = set()
        while current is not None and current.index not in seen:
            seen.add(current.index)
            yield current
            current = current.activations[0] if current.activations else None
