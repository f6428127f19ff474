"""LOS034: a critic whose mean score is maximized, over a head that is squashed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint.kinds import VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Graph, LossCalls, Op

_BOUNDS = ("sigmoid", "tanh", "softsign", "hardtanh")
_THROUGH = VALUE_PRESERVING | {"clamp"}


@rule("LOS034", "bounded-critic", level="warning", since="0.1")
def check(losses: LossCalls) -> Iterator[Finding]:
    """A Wasserstein critic that ends in a sigmoid or tanh.

    ## What it does
    Looks at losses that average scores with both signs (`fake.mean() - real.mean()`, scores times labels of 1 and -1) and reports
    a sigmoid or tanh that makes the scores. Scores that go on into a logarithm, a hinge or a square are left alone.

    ## Why is this bad?
    The Wasserstein distance needs scores without bounds. A squashed critic reaches its bounds, where its gradient vanishes, and
    the generator gets none.

    ## Example
        critic = nn.Sequential(..., nn.Linear(64, 1), nn.Sigmoid())
        loss = critic(fake).mean() - critic(real).mean()

    ## Use instead
        critic = nn.Sequential(..., nn.Linear(64, 1))

    ## References
    - M. Arjovsky et al., Wasserstein GAN, 2017: the sigmoid of the last layer is removed
    """
    graph = losses.graph
    if losses.require_result().op is None:
        return
    signs: dict[str, tuple[Op, set[bool]]] = {}
    for op, positive in _averaged(graph, losses.op, positive=True):
        for head, both in _scores(graph, op):
            key = _scorer(graph, head)
            known = signs.setdefault(key, (head, set()))
            known[1].update((True, False) if both else (positive,))
    for head, seen in signs.values():
        if len(seen) == 2:
            yield Finding(
                at=head,
                message=f"{head.label} bounds the scores of a critic whose mean is maximized and minimized: they reach "
                f"{'0 and 1' if head.is_kind('sigmoid') else '-1 and 1'}, where no gradient is left",
                evidence={"range": list(head.range) if head.range is not None else None, "head": head.label},
                fix=f"remove the {head.name}: the critic returns the score of its last layer; keep it only with a binary cross-entropy",
                modules=(head.input.module_path,) if head.input is not None else (),
            )


def _scorer(graph: Graph, head: Op) -> str:
    """What makes the scores: the weights of the last layer, which are the same wherever the critic is called."""
    layer = next((op for op in graph.chain_back(head) if op.parameters), None)
    return layer.parameters[0] if layer is not None else head.module_path or head.label


def _averaged(graph: Graph, op: Op | None, *, positive: bool) -> Iterator[tuple[Op, bool]]:
    """The means that the loss adds up, each with its sign."""
    if op is None:
        return
    if op.name in ("mean", "sum") and op.activations:
        inner = op.activations[0]
        # One mean of a difference, or of scores with another sign for each sample.
        yield from _inside(inner, positive=positive)
    elif op.name == "neg" and op.activations:
        yield from _averaged(graph, op.activations[0], positive=not positive)
    elif op.name in ("add", "sub") and op.activations:
        yield from _averaged(graph, op.activations[0], positive=positive)
        for other in op.activations[1:]:
            yield from _averaged(graph, other, positive=positive == (op.name == "add"))
    elif op.is_kind("mul", "div", "view", "identity") and len(op.activations) == 1:
        negative = any(isinstance(number, (int, float)) and number < 0 for number in op.leading)
        yield from _averaged(graph, op.activations[0], positive=positive != negative)


def _inside(op: Op, *, positive: bool) -> Iterator[tuple[Op, bool]]:
    if op.name == "neg" and op.activations:
        yield from _inside(op.activations[0], positive=not positive)
    elif op.name in ("add", "sub") and len(op.activations) == 2:
        yield from _inside(op.activations[0], positive=positive)
        yield from _inside(op.activations[1], positive=positive == (op.name == "add"))
    else:
        yield op, positive


def _scores(graph: Graph, op: Op) -> Iterator[tuple[Op, bool]]:
    """The bounded op that makes the scores; True where they are multiplied with one sign or the other for each sample."""
    if op.name == "mul" and len(op.activations) == 2:
        given = [part for part in op.activations if graph.producer(part).node.meta.get("is_target")]
        if len(given) == 1:
            scores = next(part for part in op.activations if part is not given[0])
            head = _unscaled(graph, scores)
            if head.is_kind(*_BOUNDS):
                yield head, True
        return
    head = _unscaled(graph, op)
    if head.is_kind(*_BOUNDS):
        yield head, False


def _unscaled(graph: Graph, op: Op) -> Op:
    """What makes the values, before numbers that they are scaled and shifted with: `2 * sigmoid(x) - 1`."""
    head = graph.producer(op, through=_THROUGH)
    while head.name in ("add", "sub", "rsub", "mul", "div") and len(head.inputs) == 1 == len(head.activations):
        head = graph.producer(head.activations[0], through=_THROUGH)
    return head
