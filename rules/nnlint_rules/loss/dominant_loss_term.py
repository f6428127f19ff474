"""LOS036: one summand of the loss drowns another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule

if TYPE_CHECKING:
    from nnlint import Graph, LossTerm, LossTerms, Op, Parameters


_LAYERS = ("linear-map", "recurrent", "attention")


class Dominance(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#loss-terms."""

    ratio: float = Field(1000.0, description="of two gradient norms on the parameters that both terms train")
    meant: float = Field(0.05, description="a written weight up to which a small term is meant to be small")


@rule("LOS036", "dominant-loss-term", level="warning", since="0.1")
def check(terms: LossTerms, parameters: Parameters, options: Dominance) -> Iterator[Finding]:
    """One term of the loss pulls over a thousand times as hard as another.

    ## What it does
    Takes the loss apart into its summands and measures the gradient of each on the parameters that both train. Reports a term
    that compares the output with the targets and whose gradient is less than a thousandth of another term's. Terms that are
    small on purpose (a written weight of 0.05 or less), the part of the ratio that a written weight makes, regularizers and
    bonuses that read no targets, terms that compare with a teacher's answer, and trained models are left alone.

    ## Why is this bad?
    The optimizer follows the sum of the gradients: the small term has no effect. A KL divergence summed over the batch beside
    a mean reconstruction error makes every code the prior, and the output the mean of the data.

    ## Example
        loss = F.mse_loss(output, x) + kl.sum()

    ## Use instead
        loss = F.mse_loss(output, x, reduction="sum") / len(x) + kl.sum() / len(x)

    ## References
    - A. Kendall et al., Multi-Task Learning Using Uncertainty to Weigh Losses, 2018
    """
    parameters.require_fresh()
    found: dict[int, tuple[float, LossTerm, LossTerm]] = {}
    for small in terms.terms:
        if not _is_fit(terms.graph, small.op) or abs(small.factor) <= options.meant:
            continue
        for large in terms.terms:
            ratio = terms.ratio(small, large)
            if large is not small and ratio > options.ratio and ratio > found.get(small.op.index, (0.0,))[0]:
                found[small.op.index] = ratio, small, large
    for ratio, small, large in found.values():
        yield Finding(
            at=small,
            message=f"the gradient of {large.op.label} is {ratio:.3g}x that of {small.op.label} on the layers that both train "
            f"(limit {options.ratio:g}x): {small.op.label} has no effect",
            evidence={"ratio": ratio, "limit": options.ratio, "small": small.value, "large": large.value},
            fix=_fix(small, large, ratio),
        )


def _is_fit(graph: Graph, op: Op) -> bool:
    """Whether a term compares with the targets, or is a loss function of torch.

    What compares with another network's answer (a teacher that is a copy) begins at its goal, and pulls once the two differ.
    """
    before = graph.ancestors(op) | {op}
    if any(part.node.meta.get("is_target") for part in before):
        return True
    return any(part.is_kind("loss") for part in before) and not any(_is_taught(graph, part) for part in before)


def _is_taught(graph: Graph, op: Op) -> bool:
    """Whether an op takes an answer that is trained and one that layers made without a gradient."""
    fixed = [side for side in op.activations if not side.requires_grad]
    trained = len(fixed) < len(op.activations)
    return trained and any(part.is_kind(*_LAYERS) for side in fixed for part in graph.ancestors(side) | {side})


def _fix(small: LossTerm, large: LossTerm, ratio: float) -> str:
    if "sum" in (large.op.name, large.op.argument("reduction")):
        return (
            f"reduce both terms alike: {large.op.label} is a sum and {small.op.label} a mean, as in "
            "`reconstruction.sum() / len(x) + kl.sum() / len(x)`"
        )
    return f"bring both terms to one scale: standardize the targets, or weigh {large.op.label} with about {1 / ratio:.1g}"
