"""INI007: layers that start with the same random weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules._shared.words import listed, paths

if TYPE_CHECKING:
    from nnlint import Parameters


@rule("INI007", "cloned-layers", level="info", since="0.1")
def check(parameters: Parameters) -> Iterator[Finding]:
    """Distinct layers whose random weights are identical bit for bit.

    ## What it does
    Compares all fresh weight tensors of the same shape. Tied weights, which are one tensor, and constant ones do not
    count.

    ## Why is this bad?
    Two layers never draw the same numbers: one was copied from the other (`copy.deepcopy`, as in
    `nn.TransformerEncoder`) or the seed was set anew before each. They still learn different things, since their
    inputs differ; but an ensemble of heads or branches that see the same input starts as copies of one.

    ## Example
        self.layers = nn.ModuleList([copy.deepcopy(layer) for _ in range(6)])

    ## Use instead
        self.layers = nn.ModuleList([Layer(dim) for _ in range(6)])

    ## References
    - PyTorch: `torch.nn.TransformerEncoder`, which copies the layer it is given
    """
    parameters.require_fresh()
    groups = parameters.clones
    if not groups:
        return
    largest = max(groups, key=len)
    yield Finding(
        at=largest[1],
        message=f"{len(groups)} sets of layers start with identical random weights, as "
        f"{listed(view.name for view in largest)}",
        evidence={"sets": len(groups), "largest": [view.name for view in largest[:20]]},
        fix="construct each layer by itself, or initialize the copies again",
        modules=paths(view for group in groups for view in group),
    )
