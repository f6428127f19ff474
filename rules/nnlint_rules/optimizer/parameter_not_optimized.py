"""OPT001: trainable parameters that no parameter group holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.optimizer._parameters import owners, place_of

if TYPE_CHECKING:
    from nnlint import Declared, Model, Optimizer


@rule("OPT001", "parameter-not-optimized", level="error", since="0.1")
def check(optimizer: Optimizer, model: Model, declared: Declared) -> Iterator[Finding]:
    """A trainable parameter is in no parameter group of the optimizer.

    ## What it does
    Compares the parameters that require a gradient with those the optimizer holds. What is declared frozen (`frozen=("encoder.*",)`)
    is left out; so is what has `requires_grad=False`.

    ## Why is this bad?
    The parameter gets a gradient and never moves: the layer stays at its initial values without any error.

    ## Example
        optimizer = torch.optim.AdamW(model.encoder.parameters(), lr=1e-3)       # and the head?

    ## Use instead
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        model.encoder.requires_grad_(False)                                      # where freezing is meant

    ## References
    - PyTorch: `torch.optim`, constructing it; `Optimizer.add_param_group`
    """
    missing = [name for name in optimizer.missing if not declared.is_frozen(name)]
    if not missing:
        return
    yield Finding(
        at=place_of(missing[0], model),
        message=f"{len(missing)} trainable parameters are in no group of {optimizer.label} and will never change: {listed(missing)}",
        evidence={"parameters": list(missing)},
        fix="give the optimizer model.parameters(), or add the layer with optimizer.add_param_group(); freeze what is meant to stay "
        "with requires_grad_(False)",
        modules=owners(missing),
    )
