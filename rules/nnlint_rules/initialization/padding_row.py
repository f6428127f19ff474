"""INI012: the embedding of the padding token is not zero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules._shared.words import listed

if TYPE_CHECKING:
    from nnlint import Model, Parameters


@rule("INI012", "padding-row", level="info", since="0.1")
def check(model: Model, parameters: Parameters) -> Iterator[Finding]:
    """An embedding with `padding_idx` whose row for it holds other values than zero.

    ## What it does
    Reads the row of `padding_idx` in every fresh embedding.

    ## Why is this bad?
    torch fills that row with zeros and never gives it a gradient. An initialization of its own overwrites the zeros
    with random numbers, which then stay for the whole training: padded positions carry a constant that sums and means
    take in.

    ## Example
        self.embedding = nn.Embedding(1000, 64, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.02)

    ## Use instead
        nn.init.normal_(self.embedding.weight, std=0.02)
        with torch.no_grad():
            self.embedding.weight[0].zero_()

    ## References
    - PyTorch: `torch.nn.Embedding`, argument `padding_idx`
    """
    parameters.require_fresh()
    wrong = []
    for view in model.named("Embedding", "EmbeddingBag"):
        index = view.attribute("padding_idx")
        weight = parameters.find(f"{view.module_path}.weight" if view.module_path else "weight")
        if isinstance(index, int) and weight is not None and weight.numel and not weight.row_is_zero(index):
            wrong.append((view, index))
    if wrong:
        view, index = wrong[0]
        yield Finding(
            at=view,
            message=f"row {index} (padding_idx) is not zero and will never be trained: "
            f"{listed(found.label for found, _ in wrong)}",
            evidence={"padding_idx": {found.label: row for found, row in wrong}},
            fix=f"with torch.no_grad(): embedding.weight[{index}].zero_()",
            modules=tuple(found.module_path for found, _ in wrong),
        )
