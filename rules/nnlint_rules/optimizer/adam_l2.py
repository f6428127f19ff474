"""OPT007: Adam with a weight decay that goes through the gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Optimizer

_DECOUPLED_TWIN = {
    "Adam": "AdamW",
    "NAdam": "NAdam(decoupled_weight_decay=True)",
    "RAdam": "RAdam(decoupled_weight_decay=True)",
}


@rule("OPT007", "adam-l2", level="info", since="0.1")
def check(optimizer: Optimizer) -> Iterator[Finding]:
    """Adam, NAdam or RAdam with a weight decay that is added to the gradient.

    ## What it does
    Reports these optimizers with a weight decay above zero and no decoupling.

    ## Why is this bad?
    The decay is divided by the root of the second moment like the gradient, so weights with large gradients are hardly
    decayed at all. AdamW subtracts it from the weights directly. Values of weight_decay do not carry over: AdamW needs larger ones.

    ## Example
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)

    ## Use instead
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)

    ## References
    - Loshchilov and Hutter: Decoupled Weight Decay Regularization, 2019, arXiv:1711.05101
    """
    twin = _DECOUPLED_TWIN.get(optimizer.class_name)
    rates = sorted(
        {group.weight_decay for group in optimizer.groups if group.weight_decay > 0.0 and not group.decoupled}
    )
    if twin is None or not rates:
        return
    yield Finding(
        at=optimizer,
        message=f"{optimizer.label} adds its weight decay ({', '.join(f'{rate:g}' for rate in rates)}) to the gradient, where the "
        "second moment scales it down",
        evidence={"weight_decay": list(rates), "optimizer": optimizer.class_name},
        fix=f"use torch.optim.{twin} (and a larger weight_decay, 1e-2 is its default)",
    )
