"""One operation of the graph, in a rule writer's words: a view over a `torch.fx.Node`. Imports no torch."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnlint import kinds as taxonomy
from nnlint.finding import Location

if TYPE_CHECKING:
    from torch import fx

    from nnlint.capture.formulas.reading import Formula
    from nnlint.capture.graph import Graph


class Op:
    """One operation of the graph: a node of `torch.fx.Graph` with its place, shapes and kinds."""

    def __init__(self, graph: Graph, node: fx.Node, index: int) -> None:
        self._graph = graph
        self.node = node
        self.index = index
        self.name: str = node.meta.get("name", node.name)

    def __hash__(self) -> int:
        """By its place: a set of ops is walked in the same order in every run, wherever they lie in memory."""
        return self.index

    def __repr__(self) -> str:
        return f"<Op {self.index} {self.label}>"

    def _meta(self, key: str, default: Any = None) -> Any:
        return self.node.meta.get(key, default)

    @property
    def graph(self) -> Graph:
        """The graph that holds it."""
        return self._graph

    @property
    def call(self) -> tuple[str, str, Location | None]:
        """What the same call has in common in two runs: name, module and line. `Graph.counterpart` finds it in another graph."""
        return self.name, self.module_path, self.call_location

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
