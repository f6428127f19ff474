"""INI011: a tied embedding too large for an output layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint.kinds import CLASS_LOSSES
from nnlint_rules._shared.tied import tied_heads

if TYPE_CHECKING:
    from nnlint import Graph, LossCalls, MeasuredLoss, Op, Parameters

#: Logits a row from which leaving one out leaves a spread to judge. No calibration: a vocabulary of two has none.
_FEWEST = 3


class EmbeddingScale(Options):
    """Thresholds, those of the initial-loss rule; calibration: docs/evidence/calibration.md#initial-loss."""

    excess: float = Field(default=0.7, description="accepted loss of the logits' spread above ln(classes)")
    fatal_excess: float = Field(default=3.0, description="from here on an error")


@rule("INI011", "embedding-scale", level="warning", since="0.1")
def check(graph: Graph, parameters: Parameters, losses: LossCalls, options: EmbeddingScale) -> Iterator[Finding]:
    """An embedding shared with the output layer whose scale makes the first logits huge.

    ## What it does
    Finds weights that are read both as an embedding and as the matrix of the output layer, and measures how much the
    logits they make raise the loss above ln(classes). The highest logit of each prediction is left out: a tied output
    matrix gives the token that was read a high logit at every scale. Models that scale the hidden state or the logits
    (T5) have small logits and are not reported.

    ## Why is this bad?
    `nn.Embedding` draws from N(0, 1). As an output matrix for a normalized hidden state of width d this makes logits
    of deviation sqrt(d), 28 for 768: the model starts out certain and wrong, with a loss many times ln(vocabulary),
    and spends its first steps unlearning that.

    ## Example
        self.head.weight = self.embedding.weight

    ## Use instead
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.head.weight = self.embedding.weight

    ## References
    - Press and Wolf: Using the Output Embedding to Improve Language Models, 2017, arXiv:1608.05859
    """
    heads = tied_heads(graph)
    if not heads:
        return
    parameters.require_fresh()
    for loss in losses.of(*CLASS_LOSSES):
        excess = _excess(loss)
        head = next((op for op in reversed(heads) if graph.reaches(op, loss.op)), None)
        if head is None or excess is None or excess <= options.excess:
            continue
        yield _finding(head, heads[head], parameters, excess, options)
        return


def _finding(head: Op, tied: set[str], parameters: Parameters, excess: float, options: EmbeddingScale) -> Finding:
    views = (parameters.find(name) for name in sorted(tied))
    weight = next(view for view in views if view is not None and len(view.shape) == 2)
    return Finding(
        at=head,
        level=Level.ERROR if excess > options.fatal_excess else None,
        message=f"the embedding {weight.name} (std {weight.std:.3g}) is the matrix of the output layer as well, and its "
        f"logits make the first loss {excess:.2f} higher than that of a guess (limit {options.excess:g})",
        evidence={"std": weight.std, "excess": excess, "limit": options.excess, "width": weight.shape[1]},
        fix=f"nn.init.normal_(embedding.weight, std=0.02), or scale the hidden state by {weight.shape[1]} ** -0.5",
        modules=(weight.module_path,),
    )


def _excess(loss: MeasuredLoss) -> float | None:
    """mean(logsumexp - mean) - ln C of the logits but each row's highest: what their spread costs whatever the labels.

    The row of the token that was just read lies along the hidden state, so that its logit grows with the width alone
    (5.5 of T5 with 32 units, 11.6 with 256) while the others keep a deviation of 1: it says nothing about the scale.
    """
    logits = loss.prediction_value
    if logits is None or logits.dim() < 2 or not logits.is_floating_point() or logits.shape[loss.class_dim] < _FEWEST:
        return None
    others = logits.double().movedim(loss.class_dim, -1).sort(-1).values[..., :-1]
    spread = others.logsumexp(-1) - others.mean(-1)
    return float(spread.mean()) - math.log(others.shape[-1])
