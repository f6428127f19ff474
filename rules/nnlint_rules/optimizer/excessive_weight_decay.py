"""OPT009: weight decay that outweighs the gradient."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule

if TYPE_CHECKING:
    from nnlint import StepStats


class ExcessiveWeightDecay(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#steps."""

    share: float = Field(
        2.0, description="decay over gradient (L2), median over the weight tensors; 1 is reached at every optimum"
    )
    decoupled_share: float = Field(
        0.5, description="decay over the whole update, where it is decoupled from the gradient (AdamW)"
    )


@rule("OPT009", "excessive-weight-decay", level="warning", since="0.1", explains=["TRN001"])
def check(steps: StepStats, options: ExcessiveWeightDecay) -> Iterator[Finding]:
    """Weight decay that pulls harder than the loss.

    ## What it does
    Compares, over a few real updates, the pull of weight decay with that of the gradient, for every weight tensor that is
    decayed: lambda * |w| with |gradient| where decay is added to the gradient (SGD, Adam), lr * lambda * |w| with the whole
    update where it is decoupled (AdamW). Reported is a median over the tensors above 2, or above half of the update.

    ## Why is this bad?
    The weights shrink toward zero whatever the data say. At the optimum of a regularized loss the two pulls are equal; at the
    start of training the gradient has to win by far.

    ## Example
        torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)

    ## Use instead
        torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=5e-4)

    ## References
    - Loshchilov and Hutter: Decoupled Weight Decay Regularization, 2019, arXiv:1711.05101
    """
    steps.require_own_optimizer()
    decayed = [
        item
        for item in steps.parameters
        # Where no gradient comes there is nothing to outweigh: that fault is another rule's.
        if item.dims > 1 and item.in_optimizer and item.decay_share is not None and any(item.gradients)
    ]
    shares = [item.decay_share for item in decayed if item.decay_share is not None]
    if not shares:
        return
    limit = options.decoupled_share if decayed[0].decoupled else options.share
    share = median(shares)
    if share <= limit:
        return
    against = "the whole update" if decayed[0].decoupled else "the gradient"
    yield Finding(
        at=None,
        message=f"weight decay is {share:.2g} times {against} (median over {len(shares)} weight tensors; limit {limit:g}): the weights "
        "shrink toward zero whatever the data say",
        evidence={"share": share, "limit": limit, "tensors": len(shares), "decoupled": decayed[0].decoupled},
        fix="lower weight_decay: 1e-4 to 5e-4 is usual with SGD, 0.01 to 0.1 with AdamW",
        modules=tuple(dict.fromkeys(item.module_path for item in decayed)),
    )
