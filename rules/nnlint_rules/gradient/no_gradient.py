"""GRD003: a trainable parameter that receives no gradient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Place, rule
from nnlint_rules._shared.words import listed

if TYPE_CHECKING:
    from nnlint import BackwardStats, Declared, Graph, Op, StepStats, TrackedParameter

_CUTS = ("detach", "escape", "integer", "compare")
_CUSTOM = ("custom_function", "unknown")


@rule("GRD003", "no-gradient", level="error", since="0.1", explains=["OPT004", "TRN001"])
def check(backward: BackwardStats, steps: StepStats, declared: Declared) -> Iterator[Finding]:
    """A trainable parameter whose gradient is missing or stays exactly zero.

    ## What it does
    Reports trainable parameters that autograd gives no gradient although their value reaches the loss through differentiable
    operations (a custom autograd function that returns None), and parameters whose gradient is exactly zero at every one of
    several steps with real updates between. One step is not enough: behind a branch or head that starts at zero every gradient
    is zero until the first update. Zeros that come of the data are left out: embeddings (rows that are not in the batch),
    experts that the batch gives no token, layers whose input is zero, positions that the loss does not look at. A parameter
    that the forward never reads, or whose value goes into an output the loss does not use, is an info. What is declared frozen
    or, by `declared={"unused-heads"}`, an unused head, is left out too.

    ## Why is this bad?
    The parameter keeps its initial value: the layer is a random projection for ever, and everything before it may be cut off.

    ## Example
        @staticmethod
        def backward(ctx, grad):
            return None                      # the input's gradient is lost

    ## Use instead
        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.slope

    ## References
    - PyTorch: Extending torch.autograd; `torch.autograd.gradcheck`
    """
    graph = backward.graph
    names = [item.name for item in backward.parameters if item.norm is None and not _is_exempt(item.name, declared)]
    lost: dict[Op, list[str]] = defaultdict(list)
    for name in names:
        for op in _broken_backward(name, graph):
            lost[op].append(name)
    for op, group in lost.items():
        yield _lost_in(op, group)
    explained = {name for group in lost.values() for name in group}
    unused = [
        name for name in names if name not in explained and not _reaches_loss(name, graph) and not _is_cut(name, graph)
    ]
    yield from _unused(unused, backward, declared)
    yield from _always_zero(steps, backward, declared)


def _lost_in(op: Op, names: list[str]) -> Finding:
    function = str(op.node.meta.get("custom_function", "")) or op.label
    return Finding(
        at=op,
        message=f"{listed(names, limit=3)} receive no gradient: their value reaches the loss through {function}, whose backward gives none",
        evidence={"parameters": list(names), "function": function},
        fix=f"return the gradient of each input from {function}.backward, and check it with torch.autograd.gradcheck",
        modules=tuple(dict.fromkeys(name.rpartition(".")[0] for name in names)),
    )


def _always_zero(steps: StepStats, backward: BackwardStats, declared: Declared) -> Iterator[Finding]:
    graph = backward.graph
    # Rows outside the batch, biases that a norm subtracts, and experts that were given no token.
    excused = {name for op in graph.calls("embedding") for name in op.parameters} | _shift_free(graph)
    excused |= {name for op in graph.ops if op.shape is not None and 0 in op.shape for name in op.parameters}
    dead = [
        item
        for item in steps.parameters
        if item.requires_grad and item.in_optimizer and item.always_zero and item.name not in excused
        and not item.sparse and not _is_exempt(item.name, declared)
    ]  # fmt: skip
    # Without any movement (a learning rate of zero) a zero gradient shows nothing, unless all of them are zero.
    moved = any(item.moved > 0.0 for item in steps.parameters)
    if not moved and len(dead) < len(steps.parameters):
        return
    dead = [item for item in dead if _is_blocked(item.name, backward)]
    if not dead:
        return
    by_module: dict[str, list[TrackedParameter]] = defaultdict(list)
    for item in dead:
        by_module[item.module_path].append(item)
    shown = listed([item.name for item in dead], limit=3)
    yield Finding(
        at=dead[0],
        # Without a loss the outputs stand in for it, and not every output is meant to be trained.
        level=Level.INFO if backward.surrogate else None,
        message=f"the gradient of {shown} is exactly zero at each of {steps.steps} steps, with updates between",
        evidence={"parameters": [item.name for item in dead], "steps": steps.steps},
        fix="look at what comes behind the layer: a dead ReLU, a factor of zero, a rounding, or a path that never runs",
        modules=tuple(by_module),
    )


def _is_blocked(name: str, backward: BackwardStats) -> bool:
    """Whether an op behind the parameter lets no gradient through, rather than the data.

    Two zeros are no fault: that of a layer whose input is zero in this batch, and that behind a selection (a `where`, the
    positions that the loss does not look at).
    """
    waiting, seen = _layers(name, backward.graph), set()
    if any((gradient := backward.of(op)) is not None and gradient.norm > 0.0 for op in waiting):
        return False
    while waiting:
        op = waiting.pop()
        gradient = backward.of(op)
        if op in seen or (gradient is not None and gradient.norm > 0.0):
            continue
        if _selects(op):
            return False
        seen.add(op)
        waiting.extend(op.users)
    return True


def _selects(op: Op) -> bool:
    """Whether an op may leave entries out: an index does unless it takes all of every axis, as `x[:, :, None]` does."""
    if op.name == "getitem" and len(op.leading) == 2:
        parts = op.leading[1] if isinstance(op.leading[1], (tuple, list)) else (op.leading[1],)
        return any(part is not None and part is not Ellipsis and part != slice(None) for part in parts)
    return op.is_kind("index", "merge")


def _unused(names: Iterable[str], backward: BackwardStats, declared: Declared) -> Iterator[Finding]:
    """One info for each module whose parameters the loss does not depend on."""
    by_module: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_module[name.rpartition(".")[0]].append(name)
    for module, group in by_module.items():
        used = any(_readers(name, backward.graph) for name in group)
        if used and "unused-heads" in declared.traits:
            continue
        first = backward.parameter(group[0])
        why = "what it gives does not go into the loss" if used else "the forward does not read it"
        yield Finding(
            at=Place(module, first.location if first is not None else None),
            level=Level.INFO,
            message=f"{listed(group, limit=3)} has no gradient: {why}",
            evidence={"parameters": list(group)},
            fix="remove what is not used, or add its output to the loss; declare heads that are unused on purpose "
            "(declared={'unused-heads'})",
        )


def _readers(name: str, graph: Graph) -> list[Op]:
    return [op for op in graph.ops if name in op.parameters]


def _layers(name: str, graph: Graph) -> list[Op]:
    """The ops in which the parameter meets an activation: past those that make a weight of it (weight norm, a low-rank sum)."""
    fed = {op for source in graph.inputs for op in graph.descendants(source)}
    waiting, seen = _readers(name, graph), set()
    found: list[Op] = []
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        if op in fed:
            found.append(op)
        else:
            waiting.extend(op.users)
    return found


def _reaches_loss(name: str, graph: Graph) -> bool:
    """Whether the loss (or an output, without a loss) depends on the parameter."""
    ends = {graph.loss} if graph.loss is not None else set(graph.outputs)
    return any(op in ends or not ends.isdisjoint(graph.descendants(op)) for op in _readers(name, graph))


def _broken_backward(name: str, graph: Graph) -> list[Op]:
    """The custom functions in which the gradient is lost: reached from the parameter past no op that cuts, and in use.

    Torch's own differentiable operations do not lose one, so nothing else is accused.
    """
    ends = {graph.loss} if graph.loss is not None else set(graph.outputs)
    waiting, seen = list(_readers(name, graph)), set()
    found = []
    while waiting:
        op = waiting.pop()
        if op in seen or _cuts(op):
            continue
        seen.add(op)
        if op.name in _CUSTOM and op.requires_grad:
            if not ends.isdisjoint({op, *graph.descendants(op)}):
                found.append(op)
            continue
        waiting.extend(op.users)
    return found


def _cuts(op: Op) -> bool:
    return op.is_kind(*_CUTS) or not op.grad_enabled


def _is_cut(name: str, graph: Graph) -> bool:
    """Whether every way on ends at a cut: gradient cuts are ARC007's, and often wanted (targets, teachers)."""
    readers = _readers(name, graph)
    return any(_cuts(op) for reader in readers for op in (reader, *graph.descendants(reader)))


def _shift_free(graph: Graph) -> set[str]:
    """Biases that a following norm subtracts: their gradient is zero up to rounding, and may be exactly zero."""
    found: set[str] = set()
    for op in graph.calls("linear-map"):
        if any(user.is_kind("batch-norm", "instance-norm") for user in graph.consumers(op)):
            found.update(name for name in op.parameters if name.endswith("bias"))
    return found


def _is_exempt(name: str, declared: Declared) -> bool:
    module = name.rpartition(".")[0]
    return any(
        fnmatchcase(name, glob) or fnmatchcase(module, glob) or module.startswith(f"{glob}.")
        for glob in declared.frozen
    )
