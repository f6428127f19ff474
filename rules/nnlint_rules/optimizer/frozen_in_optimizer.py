"""OPT011: frozen parameters in a parameter group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.optimizer._parameters import owners

if TYPE_CHECKING:
    from nnlint import Optimizer


@rule("OPT011", "frozen-in-optimizer", level="info", since="0.1")
def check(optimizer: Optimizer) -> Iterator[Finding]:
    """Parameters that require no gradient are in a parameter group.

    ## What it does
    Lists the parameters with `requires_grad=False` that the optimizer holds.

    ## Why is this bad?
    Without a gradient they are passed over, so it is harmless as long as they were frozen before the first backward. Frozen
    later, a gradient or a momentum that is still there keeps moving them, and weight decay with them.

    ## Example
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        model.encoder.requires_grad_(False)

    ## Use instead
        model.encoder.requires_grad_(False)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)

    ## References
    - PyTorch: Autograd mechanics, setting requires_grad
    """
    names = [tensor.name for tensor in optimizer.frozen if tensor.name is not None]
    if not names:
        return
    yield Finding(
        at=optimizer,
        message=f"{optimizer.label} holds {len(names)} parameters that require no gradient: {listed(names)}",
        evidence={"parameters": list(names)},
        fix="give the optimizer only what it trains: [p for p in model.parameters() if p.requires_grad]",
        modules=owners(names),
    )
