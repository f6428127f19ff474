"""The operation graph in a rule writer's words: a view over `torch.fx.Graph`. Imports no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnlint import kinds as taxonomy
from nnlint.capture.facts import RunFacts
from nnlint.capture.loss_call import LossCall
from nnlint.capture.op import Op
from nnlint.capture.walks import reached
from nnlint.finding import Location

if TYPE_CHECKING:
    from torch import fx

    from nnlint.capture.axes.answers import OpAxes
    from nnlint.capture.axes.flow import AxisFlow


class Graph:
    """The recorded graph of one run, loss call included.

    Attributes:
        fx: the `torch.fx.Graph` itself.
        method: "recorded" (a real run), "fake" (shapes only), "symbolic" (no run: neither shapes nor the loss).
        constructions: module path -> source line of its construction, where known.
        facts: what the run showed besides its operations.
        loss: the op that makes the final loss; None where the run did not come to it.
        complete: whether the forward ran to its end.
        module_calls: module path -> how often it was called.
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
        """The tensors the model returned; where the loss ran the model itself, those of the model that it is computed from."""
        if self._output_nodes:
            return tuple(self._by_node[node] for node in self._output_nodes)
        made = (op for op in self.ops if not op.in_loss and not op.is_kind("input", "parameter", "buffer"))
        return tuple(op for op in made if any(user.in_loss for user in op.users))

    @cached_property
    def called_modules(self) -> frozenset[str]:
        """Paths of the modules that were called."""
        return frozenset(self.module_calls)

    @cached_property
    def parameters_read(self) -> frozenset[str]:
        """Qualified names of all parameters that any op read."""
        return frozenset(name for op in self.ops for name in op.parameters)

    def calls(self, *names: str) -> tuple[Op, ...]:
        """Ops with any of these canonical names or kinds, in execution order."""
        if len(names) == 1:
            return tuple(self._by_word.get(names[0], ()))
        found = {op for name in names for op in self._by_word.get(name, ())}
        return tuple(sorted(found, key=lambda op: op.index))

    @cached_property
    def _by_word(self) -> dict[str, list[Op]]:
        """The ops of each canonical name and kind, in execution order: a hundred rules ask for some."""
        table: dict[str, list[Op]] = defaultdict(list)
        for op in self.ops:
            for word in {op.name, *op.kinds}:
                table[word].append(op)
        return dict(table)

    def of_module(self, path: str) -> tuple[Op, ...]:
        """Ops made by this module itself (not by its children)."""
        return tuple(op for op in self.ops if op.module_path == path and not op.is_kind("input", "parameter", "buffer"))

    def counterpart(self, op: Op) -> Op | None:
        """The same call in this graph, of an op of another run: of the same name, module and line, by order; None without one."""
        there = [other for other in self.ops if other.call == op.call]
        at = [other for other in op.graph.ops if other.call == op.call].index(op)
        return there[at] if at < len(there) else None

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
        return self._upstream if op is self.loss else self.above((op,))

    @cached_property
    def _upstream(self) -> frozenset[Op]:
        """What the loss depends on: worked out once, since a dozen rules ask."""
        return self.above((self.loss,)) if self.loss is not None else frozenset()

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

    def is_one_sequence(self, op: Op) -> bool:
        """Whether a recurrent layer runs over one sequence by declaration: it is given its state, for one sample, from outside.

        A trajectory of an agent, say: what looks like samples are the steps of it. A layer that makes its own state tells nothing.
        """
        if not op.is_kind("recurrent") or len(op.inputs) < 2:
            return False
        given, state = op.inputs[:2]
        if given.shape is None or state.shape is None or not self.producer(state, through=taxonomy.SHAPE_ONLY).is_kind("input"):
            return False
        # (layers, samples, features) beside (time, 1, features), or both without samples
        return len(given.shape) == len(state.shape) and (len(state.shape) == 2 or state.shape[1] == 1)
