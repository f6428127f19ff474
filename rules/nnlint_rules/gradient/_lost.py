"""Parameters that autograd gives no gradient: lost in a checkpoint or in a custom function, or left out of the loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Place
from nnlint_rules._shared.words import listed
from nnlint_rules.gradient._ways import broken_backward, is_cut, reaches_loss, readers

if TYPE_CHECKING:
    from nnlint import BackwardStats, Declared, Graph, Op


def without_gradient(backward: BackwardStats, declared: Declared) -> Iterator[Finding]:
    """Parameters to which autograd gives no gradient at all."""
    graph = backward.graph
    names = [item.name for item in backward.parameters if item.norm is None and not declared.is_frozen(item.name)]
    lost: dict[Op, list[str]] = defaultdict(list)
    for name in names:
        for op in broken_backward(name, graph):
            lost[op].append(name)
    for op, group in lost.items():
        yield _lost_in(op, group)
    explained = {name for group in lost.values() for name in group}
    unused = [
        name for name in names if name not in explained and not reaches_loss(name, graph) and not is_cut(name, graph)
    ]
    yield from _unused(unused, backward, declared)


def lost_in_checkpoints(graph: Graph, declared: Declared) -> Iterator[Finding]:
    """One finding for all reentrant checkpoints whose inputs require no gradient."""
    inside = [op for op in graph.ops if op.in_cut_checkpoint]
    trainable = {op.name for op in graph.calls("parameter") if op.requires_grad and not declared.is_frozen(op.name)}
    names = list(dict.fromkeys(name for op in inside for name in op.parameters if name in trainable))
    if not names:
        return
    first = next(op for op in inside if not trainable.isdisjoint(op.parameters))
    yield Finding(
        at=first,
        message=f"{listed(names, limit=3)} receive no gradient: they run in a reentrant checkpoint, and no input of it requires a "
        "gradient, so that torch records no backward",
        evidence={"parameters": [*names[:50]], "count": len(names)},
        fix="checkpoint(..., use_reentrant=False); with a model of transformers model.gradient_checkpointing_enable("
        "gradient_checkpointing_kwargs={'use_reentrant': False}), or model.enable_input_require_grads() before it",
        modules=tuple(dict.fromkeys(name.rpartition(".")[0] for name in names)),
    )


def _lost_in(op: Op, names: list[str]) -> Finding:
    function = str(op.node.meta.get("custom_function", "")) or op.label
    return Finding(
        at=op,
        message=f"{listed(names, limit=3)} get no gradient: they reach the loss through {function}, whose backward returns none",
        evidence={"parameters": list(names), "function": function},
        fix=f"return the gradient of each input from {function}.backward, and check it with torch.autograd.gradcheck",
        modules=tuple(dict.fromkeys(name.rpartition(".")[0] for name in names)),
    )


def _unused(names: Iterable[str], backward: BackwardStats, declared: Declared) -> Iterator[Finding]:
    """One info for each module whose parameters the loss does not depend on."""
    by_module: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_module[name.rpartition(".")[0]].append(name)
    for module, group in by_module.items():
        used = any(readers(name, backward.graph) for name in group)
        if used and "unused-heads" in declared.traits:
            continue
        first = backward.parameter(group[0])
        why = "its output does not reach the loss" if used else "the forward does not read it"
        yield Finding(
            at=Place(module, first.location if first is not None else None),
            level=Level.INFO,
            message=f"{listed(group, limit=3)} has no gradient: {why}",
            evidence={"parameters": list(group)},
            fix="remove what is not used, or add its output to the loss; declare heads that are unused on purpose "
            "(declared={'unused-heads'})",
        )
