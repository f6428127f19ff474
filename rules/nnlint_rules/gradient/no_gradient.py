"""GRD003: a trainable parameter that receives no gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Place, Skip, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.gradient._ends import blocked_exactly, blocking_end, words_of
from nnlint_rules.gradient._lost import lost_in_checkpoints, without_gradient
from nnlint_rules.gradient._ways import shift_free

if TYPE_CHECKING:
    from nnlint import BackwardStats, BlockedGradients, Declared, GradientEnd, Graph, StepStats


@rule("GRD003", "no-gradient", level="error", since="0.1")
def check(
    graph: Graph,
    declared: Declared,
    backward: BackwardStats | None,
    steps: StepStats | None,
    blocked: BlockedGradients | None,
) -> Iterator[Finding]:
    """A trainable parameter whose gradient is missing or stays exactly zero.

    ## What it does
    Reports trainable parameters that autograd gives no gradient although their value reaches the loss through differentiable
    operations (a custom autograd function that returns None), parameters of a reentrant checkpoint none of whose inputs requires a
    gradient, and parameters whose gradient is exactly zero at every one of
    several steps with real updates between, and names the operation at which it ends: a gate that normalizes a single entry
    (softmax or division over one), a factor of zero, an activation in its flat part. One step is not enough: after a branch or
    head that starts at zero every gradient is zero until the first update. Where every way to the loss ends at an operation that
    chooses among its inputs, the zero comes of the data: rows of embeddings that are not in the batch, experts that it gives no
    token, layers whose input is zero, positions that the loss does not look at. A parameter that the forward never reads, or whose
    value goes into an output the loss does not use, is an info. What is declared frozen or, by `declared={"unused-heads"}`, an
    unused head, is left out too.

    ## Why is this bad?
    The parameter keeps its initial value: the layer stays a random projection, and everything before it may be cut off.

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
    in_checkpoints = list(lost_in_checkpoints(graph, declared))
    yield from in_checkpoints
    if backward is None or steps is None or blocked is None:
        if in_checkpoints:
            return
        raise Skip("no gradients: no backward pass ran, or no update could be made")
    yield from without_gradient(backward, declared)
    yield from _always_zero(steps, blocked, backward, declared)


def _always_zero(
    steps: StepStats, blocked: BlockedGradients, backward: BackwardStats, declared: Declared
) -> Iterator[Finding]:
    graph = backward.graph
    # Biases that a norm subtracts, and experts that were given no token.
    excused = shift_free(graph) | {name for op in graph.ops if op.shape is not None and 0 in op.shape for name in op.parameters}
    tracked = {item.name: item for item in steps.parameters}
    starved: dict[str, GradientEnd] = {}
    for item in blocked.parameters:
        own = tracked[item.name]
        reason = blocking_end(item)
        if reason is None or item.name in excused or own.sparse or not own.in_optimizer or declared.is_frozen(item.name):
            continue
        starved[item.name] = reason
    # Without any movement (a learning rate of zero) a zero gradient shows nothing, unless all of them are zero.
    moved = any(item.moved > 0.0 for item in steps.parameters)
    if not starved or (not moved and len(starved) < len(steps.parameters)):
        return
    names = list(starved)
    first = tracked[names[0]]
    end = starved[names[0]]
    exact = all(blocked_exactly(blocked, name) for name in names)
    what, fix = words_of(end)
    yield Finding(
        at=Place(first.module_path, end.location or first.location),
        # Without a loss the outputs stand in for it, and not every output is meant to be trained.
        level=Level.INFO if backward.surrogate else None,
        message=f"the gradient of {listed(names, limit=3)} is {'exactly zero' if exact else 'zero up to rounding'} at each of "
        f"{steps.steps} steps, with updates between: {what}",
        evidence={"parameters": [*names], "steps": steps.steps, "operation": end.op.name},
        fix=fix,
        modules=tuple(dict.fromkeys([*(tracked[name].module_path for name in names), end.module_path])),
    )
