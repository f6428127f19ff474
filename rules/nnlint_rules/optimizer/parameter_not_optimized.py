"""OPT001: trainable parameters that no parameter group holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Place, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.optimizer._parameters import owners, place_of

if TYPE_CHECKING:
    from nnlint import Declared, Graph, Model, Op, Optimizer


@rule("OPT001", "parameter-not-optimized", level="error", since="0.1")
def check(optimizer: Optimizer, model: Model, declared: Declared, graph: Graph | None) -> Iterator[Finding]:
    """A trainable parameter is in no parameter group of the optimizer.

    ## What it does
    Compares the parameters that require a gradient with those the optimizer holds. What is declared frozen (`frozen=("encoder.*",)`)
    is left out; so is what has `requires_grad=False`, and a network that the forward runs under `torch.no_grad` only, or whose answers are
    detached before the loss takes them (a teacher).

    ## Why is this bad?
    The parameter gets a gradient and never moves: the layer stays at its initial values without any error.

    ## Example
        optimizer = torch.optim.AdamW(model.encoder.parameters(), lr=1e-3)       # and the head?

    ## Use instead
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        model.encoder.requires_grad_(False)                                      # where freezing is meant

    ## References
    - PyTorch: `torch.optim`, constructing it; `Optimizer.add_param_group`
    """
    untaught = _without_gradient(graph) if graph is not None else frozenset()
    missing = [name for name in optimizer.missing if name not in untaught and not declared.is_frozen(name)]
    if not missing:
        return
    layer = place_of(missing[0], model)
    yield Finding(
        at=Place(layer.module_path, optimizer.location or layer.location),
        message=f"{len(missing)} trainable parameters are in no group of {optimizer.label} and will never change: {listed(missing)}",
        evidence={"parameters": list(missing)},
        fix="give the optimizer model.parameters(), or add the layer with optimizer.add_param_group(); freeze what is meant to stay "
        "with requires_grad_(False)",
        modules=owners(missing),
    )


def _without_gradient(graph: Graph) -> frozenset[str]:
    """Parameters that are only read under `torch.no_grad`, or for what is detached: they are meant to stay as they are."""
    read: dict[str, bool] = {}
    detached = _detached(graph)
    for op in graph.ops:
        for name in op.parameters:
            read[name] = read.get(name, False) or (op.grad_enabled and op not in detached)
    return frozenset(name for name, trained in read.items() if not trained)


def _detached(graph: Graph) -> frozenset[Op]:
    """Ops that the loss depends on through `.detach()` alone: a teacher's, whose answer is detached."""
    if graph.loss is None:
        return frozenset()
    cuts = [op for op in graph.ops if op.is_kind("detach")]
    if not cuts:
        return frozenset()
    live: set[Op] = set()
    waiting = [graph.loss]
    while waiting:
        op = waiting.pop()
        if op not in live and not op.is_kind("detach"):
            live.add(op)
            waiting.extend(op.inputs)
    before = graph.above(op for op in cuts if op in graph.ancestors(graph.loss))
    return before - live
