"""OPT009: weight decay that outweighs the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint_rules._shared.words import counted

if TYPE_CHECKING:
    from nnlint import Optimizer, StepStats, Trial, Trials


class ExcessiveWeightDecay(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#steps."""

    share: float = Field(
        2.0, description="decay over gradient (L2), median over the weight tensors; 1 is reached at every optimum"
    )
    decoupled_share: float = Field(
        0.5, description="decay over the whole update, where it is decoupled from the gradient (AdamW)"
    )
    reduction: float = Field(
        0.75, description="reduction of the loss over that of the same updates without decay: below it a weaker pull is reported too"
    )
    harmless: float = Field(0.95, description="the same: from here on a stronger pull is not reported; healthy decays reach it")
    strong: float = Field(0.1, description="decay that is added to the gradient and counts as strong, whatever the first gradients are")
    strong_reduction: float = Field(0.9, description="reduction as above, below which a strong decay is reported")


#: Share of the limits up to which decay and gradient may be at the balance of a trained net.
_BALANCE = 0.6


@rule("OPT009", "excessive-weight-decay", level="warning", since="0.1")
def check(
    steps: StepStats, trials: Trials | None, optimizer: Optimizer, options: ExcessiveWeightDecay
) -> Iterator[Finding]:
    """Weight decay that pulls harder than the loss.

    ## What it does
    Compares, over a few real updates, the pull of weight decay with that of the gradient, for every weight tensor that is
    decayed: lambda * |w| with |gradient| where decay is added to the gradient (SGD, Adam), lr * lambda * |w| with the whole
    update where it is decoupled (AdamW). Reported is a median over the tensors above 2, or above half of the update, unless
    the same updates without decay reduce the loss no more (by 5 %); and from 1.2 (0.3 of the update) on where decay takes a
    quarter of the reduction. A decay of 0.1 or more that is added to the gradient of a fresh net is tried in any case, over more
    updates (up to 150), since small weights feel it only once they have grown; there a tenth of the reduction is too much.

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
    trial = trials.without_decay if trials is not None else None
    strong = _is_strong(optimizer, options)
    harm = _harm(share, limit, trial, options, strong=strong)
    if not harm:
        return
    reached = trial.share if trial is not None else None
    against = "the whole update" if decayed[0].decoupled else "the gradient"
    yield Finding(
        at=optimizer,
        message=f"weight decay is {share:.2g} times {against} (median over {counted(len(shares), 'weight tensor')}) {harm}",
        evidence={
            "share": share,
            "limit": limit,
            "tensors": len(shares),
            "decoupled": decayed[0].decoupled,
            "reduction": reached if reached is not None and math.isfinite(reached) else None,
            "reduction_limit": options.strong_reduction if strong else options.reduction,
        },
        fix="lower weight_decay: 1e-4 to 5e-4 is usual with SGD and Adam, 0.01 to 0.1 with AdamW",
        modules=tuple(dict.fromkeys(item.module_path for item in decayed)),
    )


def _harm(share: float, limit: float, trial: Trial | None, options: ExcessiveWeightDecay, *, strong: bool) -> str:
    """What the decay does, in words; empty where it is not too strong."""
    reached = trial.share if trial is not None else None
    if reached is None or trial is None:
        return f"(limit {limit:g}): the weights shrink toward zero whatever the data say" if share > limit else ""
    if not (strong and reached < options.strong_reduction):
        worst = options.reduction if share <= limit else options.harmless
        if reached >= worst or share <= _BALANCE * limit:
            return ""
    first, without, configured = trial.changed[0], trial.changed[-1], trial.configured[-1]
    return (
        f"and keeps the loss on the batch from falling: in {len(trial.changed) - 1} updates from {first:.3g} to {configured:.3g}, "
        f"without decay to {without:.3g}"
    )


def _is_strong(optimizer: Optimizer, options: ExcessiveWeightDecay) -> bool:
    """Whether a decay is strong by itself, at the start of a training: at its end decay and gradient are at balance."""
    groups = (group for group in optimizer.groups if not group.decoupled)
    return not optimizer.steps and any((group.weight_decay or 0.0) >= options.strong for group in groups)
