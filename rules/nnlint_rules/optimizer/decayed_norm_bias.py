"""OPT006: weight decay on norm weights and biases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.optimizer._parameters import owners

if TYPE_CHECKING:
    from nnlint import Optimizer, Parameters


@rule("OPT006", "decayed-norm-bias", level="info", since="0.1")
def check(optimizer: Optimizer, parameters: Parameters) -> Iterator[Finding]:
    """Weight decay applies to norm weights and biases too.

    ## What it does
    Lists the biases and the weights of norms in parameter groups with a weight decay above zero. AdamW's default of 0.01, which
    nobody chose and which is too weak to matter, is left out.

    ## Why is this bad?
    Decay is meant for weights that multiply activations. Norm weights and biases are few, do not overfit, and pulling them
    to zero works against what they are for. The effect is small, so this is a convention rather than a fault.

    ## Example
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)

    ## Use instead
        plain = [p for p in model.parameters() if p.dim() < 2]
        weights = [p for p in model.parameters() if p.dim() >= 2]
        optimizer = torch.optim.AdamW([{"params": weights, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=1e-3)

    ## References
    - He, Zhang, Zhang, Zhang, Xie and Li: Bag of Tricks for Image Classification, 2019, arXiv:1812.01187, section 3.1
    """
    spared = {view.name for view in parameters if view.kind in {"norm", "bias"}}
    chosen = (
        group
        for group in optimizer.groups
        if group.weight_decay > 0.0 and not _is_default(group.weight_decay, optimizer)
    )
    decayed = [(group, [name for name in group.names if name in spared]) for group in chosen]
    names = [name for _, group_names in decayed for name in group_names]
    if not names:
        return
    rates = sorted({group.weight_decay for group, group_names in decayed if group_names})
    yield Finding(
        at=optimizer,
        message=f"weight decay {', '.join(f'{rate:g}' for rate in rates)} applies to {len(names)} norm weights and biases: {listed(names)}",
        evidence={"parameters": list(names), "weight_decay": list(rates)},
        fix="give parameters of fewer than two dimensions a group of their own with weight_decay=0",
        modules=owners(names),
    )


def _is_default(rate: float, optimizer: Optimizer) -> bool:
    return optimizer.class_name == "AdamW" and rate == 0.01
