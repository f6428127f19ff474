"""LOS035: a summand of the loss that trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule

if TYPE_CHECKING:
    from nnlint import Graph, LossResponse, LossTerm, LossTerms, Op


@rule("LOS035", "dead-loss-term", level="warning", since="0.1")
def check(terms: LossTerms, response: LossResponse | None) -> Iterator[Finding]:
    """A term of the loss that no trained parameter gets a gradient from.

    ## What it does
    Takes the loss apart into its summands and computes the gradient of each. Reports one that comes from the model and changes
    none of the optimizer's parameters: its prediction is detached, it was computed under `torch.no_grad()`, it goes through an
    operation without a gradient (`argmax`, a comparison, a count), it was made a Python number (`item`), or it is multiplied with
    0 on its way. A loss that is 0
    times something as a whole is an error. A term whose whole weight is 0 beside others that train is info, since schedules
    start so. The value of a term that trains, added or taken off once more, is left alone.

    ## Why is this bad?
    The term is shown in the logs, and the net ignores it: an adversarial, consistency or physics term that never had an effect.

    ## Example
        loss = mse(fake, x) + 0.01 * bce(critic(fake.detach()), ones)

    ## Use instead
        loss = mse(fake, x) + 0.01 * bce(critic(fake), ones)  # detach only in the critic's own loss

    ## References
    - PyTorch: `torch.Tensor.detach`, `torch.no_grad`
    """
    for op in response.numbers if response is not None else ():
        yield Finding(
            at=op,
            message=f"{op.label} makes a Python number of a term of the loss: the term changes with the output and trains nothing",
            evidence={"gradient": 0.0},
            fix="add the tensor itself to the loss, and call `.item()` only for what is logged",
        )
    live = [term for term in terms.terms if term.trains]
    if not live and len(terms.terms) > 1:
        return  # nothing is trained at all: that is LOS020's or GRD001's to say
    seen: set[object] = {None}
    for term in terms.terms:
        cause = _cause(terms, term, live) if not term.trains else None
        if len(terms.terms) == 1:
            zero = _zero(terms.graph, term.op)
            if zero is not None:
                yield _finding(term, zero, "is multiplied with 0, so that the loss depends on nothing", Level.ERROR)
        elif cause is not None and (not _is_of_weights(cause) or cause.location not in seen):
            seen.add(cause.location)  # one line goes through the weights of all layers
            scheduled = term.factor == 0.0
            words = "has the weight 0" if scheduled else _words(cause)
            yield _finding(term, cause, words, Level.INFO if scheduled else None)


def _finding(term: LossTerm, cause: Op, words: str, level: Level | None) -> Finding:
    return Finding(
        at=cause if cause.location is not None else term,
        level=level,
        message=f"{term.op.label} is a term of the loss ({term.value:.3g}) that trains nothing: it {words}",
        evidence={"value": term.value, "gradient": 0.0},
        fix=_fix(cause, scheduled=level is Level.INFO),
    )


def _cause(terms: LossTerms, term: LossTerm, live: Sequence[LossTerm]) -> Op | None:
    """What keeps the gradient of a term from the model: a detach, an op under no_grad or without a gradient, a zero.

    None for a term of the data alone, and for one whose gradient another term supplies (a straight-through estimator).
    """
    graph = terms.graph
    if term.factor == 0.0:
        return term.op if _comes_from_model(graph, term.op) else None
    zero = _zero(graph, term.op)
    if zero is not None:
        return zero
    if term.norms or not _comes_from_model(graph, term.op):
        return None  # a gradient of zero is that of a term at its lowest: a teacher that is still its student
    if any(_is_copy(graph, other.op, live) for other in terms.terms):
        return None
    before = sorted(graph.ancestors(term.op) | {term.op}, key=lambda op: op.index, reverse=True)
    for op in before:
        reads_model = any(part.requires_grad for part in op.inputs)
        whole = op.is_kind("integer", "compare") or op.dtype.startswith(("int", "bool"))
        if reads_model and (op.is_kind("detach") or (op.grad_enabled and whole)):
            return op
        if not op.grad_enabled and (op.parameters or reads_model):
            return op
    return None


def _is_copy(graph: Graph, op: Op, live: Sequence[LossTerm]) -> bool:
    """Whether a summand is only the value of one that trains, taken off or added (for the logs, or to pass its gradient straight on)."""
    source = op.activations[0] if op.is_kind("detach") and op.activations else None
    return source is not None and any(term.op is source or term.op in graph.ancestors(source) for term in live)


def _comes_from_model(graph: Graph, op: Op) -> bool:
    """Whether layers made the value, of the inputs or of points that the loss draws itself."""
    return any(part.parameters for part in graph.ancestors(op))


def _zero(graph: Graph, op: Op) -> Op | None:
    """The product with the number 0 that the value goes through on its only way; None where there is none."""
    current: Op | None = op
    seen: set[Op] = set()
    while current is not None and current not in seen:
        seen.add(current)
        if current.is_kind("mul") and any(number == 0 and isinstance(number, (int, float)) for number in current.leading):
            return current if _comes_from_model(graph, current) else None
        current = current.activations[0] if len(current.activations) == 1 else None
    return None


def _is_of_weights(cause: Op) -> bool:
    """Whether it detaches parameters, not what a network computes from its inputs."""
    return not cause.activations


def _words(cause: Op) -> str:
    if cause.is_kind("mul"):
        return "is multiplied with 0"
    if cause.is_kind("detach"):
        return f"is computed from {'detached weights' if _is_of_weights(cause) else 'a detached prediction'}"
    return f"is computed through {cause.label}, which has no gradient" if cause.grad_enabled else "is computed under torch.no_grad()"


def _fix(cause: Op, *, scheduled: bool) -> str:
    if scheduled:
        return "nothing to do if a schedule raises the weight; else set it, or remove the term"
    if cause.is_kind("mul"):
        return "set the factor (`beta`, a weight) to a positive number, or remove the term"
    if cause.is_kind("detach") and _is_of_weights(cause):
        return f"remove the `.{cause.name}`, so that the weights get the gradient of the term, or use the optimizer's `weight_decay`"
    if cause.is_kind("detach"):
        return "remove the `.detach()`: freeze the other network with `requires_grad_(False)` where it must not learn"
    if cause.grad_enabled:
        return f"compute the term from probabilities (`softmax`, `sigmoid`) in place of {cause.name}, or remove it"
    return "compute the term outside `torch.no_grad()`, or remove it"
