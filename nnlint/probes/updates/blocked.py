"""Where a gradient that stays zero is lost: one more forward and backward, with a hook on every op after the parameter.

Run only where the updates left a parameter without a gradient. A zero says nothing by itself: rows that no sample looks up, experts
that get no token and positions that the loss leaves out have one for good reasons. What tells them apart is the op at which the
gradient ends: one that chooses among its inputs, or one that lets nothing through whatever it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from nnlint.capture.graph import Graph
from nnlint.capture.loss_call import AtOp
from nnlint.capture.op import Op
from nnlint.probes.training_pass.reruns import differentiated
from nnlint.tensors import tensors_in

if TYPE_CHECKING:
    from nnlint.probes.session import Session
    from nnlint.probes.updates.stats import StepStats, TrackedParameter

#: A gradient below this share of the largest on the way is rounding: x / x has one of 1e-8.
_ROUNDING = 1e-6
#: Spread of an output that is the same for whatever comes in, relative to its size.
_CONSTANT = 1e-6


@dataclass(frozen=True)
class GradientEnd(AtOp):
    """An op whose output has a gradient, and whose input on the way to a parameter has none.

    Attributes:
        op: the op.
        source: the op that gives the input.
        constant: whether its output is the same number everywhere although the input varies.
        factor_is_fixed: for a product, whether the other factor is zero whatever the data are.
    """

    op: Op
    source: Op
    constant: bool
    factor_is_fixed: bool


@dataclass(frozen=True)
class BlockedParameter:
    """A parameter without a gradient in every step, and all the ops at which gradients on the way to it end."""

    name: str
    exact: bool
    ends: tuple[GradientEnd, ...]


@dataclass(frozen=True)
class BlockedGradients:
    """The parameters whose gradient was zero, or no more than rounding, in every step; empty where there is none."""

    parameters: tuple[BlockedParameter, ...] = ()

    def of(self, name: str) -> BlockedParameter | None:
        """What is known of the parameter with this qualified name."""
        return next((item for item in self.parameters if item.name == name), None)


def provide(session: Session) -> BlockedGradients:
    """Trace the gradients that the updates did not see.

    Raises:
        Skip: no updates were made, or the model cannot be differentiated again.
    """
    steps: StepStats = session.evidence("StepStats")
    suspects = _suspects(steps)
    if not suspects:
        return BlockedGradients()
    found: BlockedGradients = session.measure("blocked gradients", lambda: _traced(session, suspects))
    return found


def _suspects(steps: StepStats) -> dict[str, bool]:
    """Names of the parameters without a gradient, and whether it is exactly zero."""
    largest = max((norm for item in steps.parameters for norm in _norms(item)), default=0.0)
    return {
        item.name: item.always_zero
        for item in steps.parameters
        if item.always_zero or (_norms(item) and not item.is_table and max(_norms(item)) <= _ROUNDING * largest)
    }


def _norms(item: TrackedParameter) -> list[float]:
    return [norm for norm in item.gradients if norm is not None and math.isfinite(norm)]


@dataclass
class _Watch:
    """Observer of a recorder: the gradient of every op's output, and the range of its values."""

    gradients: dict[fx.Node, torch.Tensor] = field(default_factory=dict)
    ranges: dict[fx.Node, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for tensor in tensors_in((output,)):
            if not tensor.is_floating_point() or not tensor.numel() or tensor.layout is not torch.strided:
                return
            low, high = tensor.detach().aminmax()
            self.ranges[node] = (low, high)
            if tensor.requires_grad and torch.is_grad_enabled():
                tensor.register_hook(lambda gradient: self._keep(node, gradient))

    def _keep(self, node: fx.Node, gradient: torch.Tensor | None) -> None:
        if gradient is not None:
            self.gradients[node] = torch.linalg.vector_norm(gradient.detach())

    def norm(self, op: Op) -> float:
        """Norm of the gradient with respect to the op's output; zero where none came."""
        found = self.gradients.get(op.node)
        return float(found) if found is not None else 0.0

    def is_constant(self, op: Op) -> bool:
        """Whether all values are one number."""
        if op.node not in self.ranges:
            return False
        low, high = map(float, self.ranges[op.node])
        return high - low <= _CONSTANT * max(abs(low), abs(high))

    def is_zero(self, op: Op) -> bool:
        """Whether all values are zero."""
        return op.node in self.ranges and not any(map(bool, self.ranges[op.node]))

    def has_zeros_and_others(self, op: Op) -> bool:
        """Whether an op made a mask: its values begin or end at zero, and are not all zero; or it wrote to one in place."""
        if op.node not in self.ranges:
            return bool(op.node.meta.get("in_place"))
        low, high = map(float, self.ranges[op.node])
        return low < high and 0.0 in (low, high)


def _traced(session: Session, suspects: dict[str, bool]) -> BlockedGradients:
    watch = _Watch()
    graph = differentiated(session.setup, watch, seed=session.plan.seed)
    if graph is None:
        return BlockedGradients()
    floor = _ROUNDING * max((watch.norm(op) for op in graph.ops), default=0.0)
    parameters = []
    for name, exact in suspects.items():
        ends = tuple(_ends(name, graph, watch, 0.0 if exact else floor))
        parameters.append(BlockedParameter(name, exact, ends))
    return BlockedGradients(tuple(parameters))


def _ends(name: str, graph: Graph, watch: _Watch, floor: float) -> Iterator[GradientEnd]:
    """Walk from the parameter towards the loss as long as no gradient came, and say where one did."""
    start = [op for op in graph.ops if op.is_kind("parameter") and op.name == name]
    waiting, seen = list(start), set(start)
    while waiting:
        source = waiting.pop()
        for op in source.users:
            if watch.norm(op) > floor or op is graph.loss:
                constant = watch.is_constant(op) and not watch.is_constant(source)
                yield GradientEnd(op, source, constant, _is_fixed_zero(op, source, graph, watch))
            elif op not in seen and op.requires_grad:
                seen.add(op)
                waiting.append(op)


def _is_fixed_zero(op: Op, source: Op, graph: Graph, watch: _Watch) -> bool:
    """Whether the other factor of a product is no matter of the data: a number, a buffer, a tensor of zeros.

    A mask, zero at some places only, chooses among them: that the loss reads those alone is not the product's doing.
    """
    if not op.is_kind("mul", "div", "linear-map", "matmul"):
        return False
    given = frozenset(graph.inputs)
    others = [other for other in op.inputs if other is not source]
    if op.is_kind("mul") and any(watch.has_zeros_and_others(other) for other in others):
        return False
    # A layer that is given nothing but zeros has no gradient whoever made them.
    zeros = watch if op.is_kind("mul", "div") else None
    return not any(_depends(other, given, zeros) for other in others)


def _depends(op: Op, given: frozenset[Op], watch: _Watch | None) -> bool:
    """Whether the op's values depend on an input; the shape of one is no value, nor is, where watched, a multiple by zero."""
    waiting, seen = [op], set()
    while waiting:
        current = waiting.pop()
        if current in given:
            return True
        if current in seen or current.is_kind("factory"):
            continue
        if watch is not None and _is_times_zero(current, given, watch):
            continue
        seen.add(current)
        waiting.extend(current.inputs)
    return False


def _is_times_zero(op: Op, given: frozenset[Op], watch: _Watch) -> bool:
    """Whether the op multiplies by the number zero, or by a tensor of zeros that no input has a part in."""
    if not op.is_kind("mul") or not watch.is_zero(op):
        return False
    if any(isinstance(factor, (int, float)) and factor == 0 for factor in op.node.args):
        return True
    # Tensors that are no results of an op have no range: the product is zero because of them where the other factor is not.
    return any(
        not _depends(factor, given, watch) and not any(watch.is_zero(other) for other in op.inputs if other is not factor)
        for factor in op.inputs
    )
