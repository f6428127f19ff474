"""OPT002: the optimizer holds tensors that are not the model's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.optimizer._parameters import owners, place_of

if TYPE_CHECKING:
    from nnlint import Model, Optimizer


@rule("OPT002", "stale-optimizer", level="error", since="0.1")
def check(optimizer: Optimizer, model: Model) -> Iterator[Finding]:
    """The optimizer holds tensors that the model does not have.

    ## What it does
    Looks for tensors in the parameter groups that are neither the model's nor the loss module's. When the model has trainable
    parameters that the optimizer lacks, it was built for an earlier state of the model or for another instance. When it lacks
    none, the further tensors may belong to a second model that is trained along: an info.

    ## Why is this bad?
    The optimizer updates tensors that no forward uses, while the ones in use never move. The loss may still fall, by way of the
    layers that are the same.

    ## Example
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        model.head = nn.Linear(512, 10)          # the optimizer still holds the old head

    ## Use instead
        model.head = nn.Linear(512, 10)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    ## References
    - PyTorch: `torch.optim`, constructing it after moving and changing the model
    """
    if not optimizer.foreign:
        return
    missing = list(optimizer.missing)
    shapes = Counter(tensor.shape for tensor in optimizer.foreign)
    shown = listed([" x ".join(map(str, shape)) or "scalar" for shape in shapes])
    absent = f", and lacks {listed(missing)}" if missing else ""
    yield Finding(
        at=place_of(missing[0], model) if missing else optimizer,
        level=None if missing else Level.INFO,
        message=f"{optimizer.label} holds {len(optimizer.foreign)} tensors that are not the model's (shapes {shown}){absent}",
        evidence={"foreign": [list(tensor.shape) for tensor in optimizer.foreign[:50]], "missing": list(missing)},
        fix="construct the optimizer after the last change of the model (replaced heads, loading, moving to another device) and "
        "from the same instance",
        modules=owners(missing),
    )
