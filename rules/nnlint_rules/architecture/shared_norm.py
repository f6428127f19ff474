"""ARC016: one batch norm for several places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule

if TYPE_CHECKING:
    from nnlint import Graph, Op


@rule("ARC016", "shared-norm", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """One batch-norm layer applied at several places of the model.

    ## What it does
    Reports a batch norm with running statistics that one forward calls more than once on different layers' outputs. Where every
    call comes after the same layer (the steps of a recurrent net, the towers of a siamese one) it is an info.

    ## Why is this bad?
    The running statistics become a mixture of those of all places and fit none of them: in evaluation the layer normalizes with
    numbers that training never used. Each call in training also moves the statistics once.

    ## Example
        x = torch.relu(self.bn(self.conv1(x)))
        x = torch.relu(self.bn(self.conv2(x)))

    ## Use instead
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))

    ## References
    - Ioffe and Szegedy, 2015, arXiv:1502.03167, algorithm 2: the statistics belong to one activation
    """
    places: dict[str, list[Op]] = defaultdict(list)
    for op in graph.calls("batch-norm"):
        if op.training and not op.in_loss and op.module_path and op.argument("running_mean") is not None:
            places[op.module_path].append(op)
    for norms in places.values():
        if len(norms) > 1:
            yield _finding(norms, graph)


def _finding(norms: list[Op], graph: Graph) -> Finding:
    sources = dict.fromkeys(_source(op, graph) for op in norms)
    steps = len(sources) == 1 or _is_repeated_part(norms, graph)
    after = ", ".join(sources)
    return Finding(
        at=norms[0],
        message=f"{norms[0].label} is applied {len(norms)} times in one forward, after {after}: "
        + (
            "its running statistics are those of all these calls together"
            if steps
            else "one set of running statistics for different activations"
        ),
        evidence={"calls": len(norms), "after": list(sources)},
        fix="give each place a batch norm of its own"
        if not steps
        else "one batch norm for each step, or LayerNorm, where the calls' statistics differ",
        level=Level.INFO if steps else None,
    )


def _source(op: Op, graph: Graph) -> str:
    """The layer whose output is normalized."""
    chain = graph.chain_back(op)
    next(chain)
    layer = next((above for above in chain if above.parameters or above.is_kind("input", "add", "concat")), None)
    return layer.label if layer is not None else "the input"


def _is_repeated_part(norms: list[Op], graph: Graph) -> bool:
    """Whether a module around the norm is itself called as often: a tower or a step used again."""
    around = set.intersection(*(set(op.modules) for op in norms)) - {"", norms[0].module_path}
    return any(graph.module_calls.get(path, 0) >= len(norms) for path in around)
