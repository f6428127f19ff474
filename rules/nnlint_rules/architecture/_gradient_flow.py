"""Which trainable parameters get a gradient from the loss, and where the others lose it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from nnlint_rules.architecture._flow import closure

if TYPE_CHECKING:
    from nnlint import Graph, Op

#: Where a value leaves torch as a number; a branch on it (`__bool__`) is no cut.
_NUMBERS = frozenset({"item", "tolist", "numpy", "__array__", "__float__", "__int__"})


class GradientFlow:
    """The ways of values and of gradients through a recorded graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        if graph.loss is not None:
            sinks = [graph.loss]
        else:
            sinks = [op for op in graph.outputs if op.requires_grad]
        self.has_sink = bool(sinks)
        self._valued = closure(sinks, lambda op: () if _is_shape_only(op) else op.inputs)
        carrying = [op for op in sinks if op.requires_grad]
        self._carrying = closure(
            carrying,
            lambda op: (
                [] if is_step(op) else [above for above in op.inputs if above.requires_grad and self._counts(above)]
            ),
        )

    def _counts(self, op: Op) -> bool:
        """Whether the op is no penalty on parameters: computed in the loss, and from nothing of the data."""
        return not op.in_loss or op in self._of_data or self._graph.loss not in self._of_data

    @cached_property
    def _of_data(self) -> frozenset[Op]:
        """What depends on an input of the model."""
        return closure(self._graph.inputs, lambda op: op.users)

    @cached_property
    def _trainable(self) -> tuple[Op, ...]:
        return tuple(op for op in self._graph.ops if op.is_kind("parameter") and op.requires_grad)

    @cached_property
    def is_cut_by_loss(self) -> bool:
        """Whether the loss has no gradient although it is made from outputs of the model that have one."""
        loss = self._graph.loss
        return (
            loss is not None
            and not loss.requires_grad
            and any(op.requires_grad and op in self._valued for op in self._graph.outputs)
        )

    @cached_property
    def with_gradient(self) -> tuple[Op, ...]:
        """Trainable parameters that get a gradient."""
        return tuple(op for op in self._trainable if op in self._carrying)

    @cached_property
    def without_gradient(self) -> tuple[Op, ...]:
        """Trainable parameters that were read and get none."""
        return tuple(op for op in self._trainable if op not in self._carrying)

    def cut_of(self, parameter: Op) -> Op | None:
        """The first op at which the parameter's gradient is lost, if that is no accepted idiom."""
        if parameter in self._valued:
            cuts = [op for op in self._cuts(parameter) if not self._is_meant(op)]
        else:
            cuts = self._numbers(parameter)
        return min(cuts, key=lambda op: op.index, default=None)

    def _cuts(self, parameter: Op) -> list[Op]:
        """Ops on the way to the loss that give up the gradient of the parameter."""
        reached = closure(
            [parameter], lambda op: [] if _is_blocked(op) else [user for user in op.users if user in self._valued]
        )
        return [op for op in reached if _is_blocked(op)]

    def _numbers(self, parameter: Op) -> list[Op]:
        """Ops by which the parameter's value leaves torch, where a tensor without origin reaches the loss after that."""
        below = self._graph.descendants(parameter)
        left = [op for op in below if op.name in _NUMBERS and not op.in_loss]
        back = [op for op in self._valued if not op.inputs and op.is_kind("factory", "unknown") and not op.in_loss]
        return [op for op in left if op.activations and any(again.index > op.index for again in back)]

    def _is_meant(self, cut: Op) -> bool:
        """Whether the cut is an idiom: in the loss, a straight-through estimator, or a value that only targets use."""
        if cut.in_loss or self._is_straight_through(cut):
            return True
        if not self.with_gradient or cut.is_kind("integer", "compare"):
            return False
        return not self._feeds_layers(cut) and (not cut.grad_enabled or self._has_twin(cut) or self._is_target(cut))

    def _feeds_layers(self, cut: Op) -> bool:
        """Whether trained layers lie behind the cut."""
        return any(op.parameters and op in self._carrying for op in self._graph.descendants(cut))

    def _is_straight_through(self, cut: Op) -> bool:
        """`x + (q - x).detach()`: the gradient goes around the cut, through x."""
        before = {cut, *self._graph.ancestors(cut)}
        for user in cut.users:
            others = [op for op in user.activations if op is not cut]
            if user.is_kind("add") and any(op.requires_grad and op in before for op in others):
                return True
        return False

    def _is_target(self, cut: Op) -> bool:
        """Whether the value is only compared with others by loss functions."""
        return any(call.target is not None and self._graph.reaches(cut, call.target) for call in self._graph.loss_calls)

    def _has_twin(self, cut: Op) -> bool:
        """Whether the parameters behind the cut belong to a copy of a part that does get a gradient (an averaged teacher)."""
        behind = [op.name for op in self._graph.ancestors(cut) if op in self.without_gradient]
        trained = {op.name: op.shape for op in self.with_gradient}
        own = {op.name: op.shape for op in self.without_gradient}
        suffixes = {name.partition(".")[2]: own[name] for name in behind}
        heads = {name.partition(".")[0] for name in trained}
        return bool(suffixes) and any(
            all(trained.get(f"{head}.{suffix}") == shape for suffix, shape in suffixes.items()) for head in heads
        )

    def is_doubtful(self, cut: Op) -> bool:
        """Whether the cut may be a way of freezing: a layer ran without gradient, or nothing trained lies behind it."""
        if not self.with_gradient or cut.is_kind("integer", "compare", "escape"):
            return False
        if cut.is_kind("detach"):
            return not self._feeds_layers(cut)
        return not cut.grad_enabled and bool(cut.parameters)


def is_step(op: Op) -> bool:
    """Whether the op is a step function: autograd passes it, with a derivative of zero."""
    return op.is_kind("round") and op.name != "frac"


def _is_blocked(op: Op) -> bool:
    return not op.requires_grad or is_step(op)


def _is_shape_only(op: Op) -> bool:
    """Whether the op takes the shape of its inputs and not their values: `zeros_like(x)`, `x.new_zeros(...)`."""
    return op.is_kind("factory", "random") and op.name.endswith(("_like", "zeros", "ones", "full", "empty"))
