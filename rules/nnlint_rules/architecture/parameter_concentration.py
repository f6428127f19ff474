"""ARC015: one dense layer that is the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule

if TYPE_CHECKING:
    from nnlint import Graph, Parameters


class ParameterConcentration(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#architecture."""

    share: float = Field(default=0.9, description="share of all parameters in one dense layer")
    total: int = Field(default=1_000_000, description="models with fewer parameters are left alone")
    ratio: float = Field(default=100.0, description="inputs for each output of the layer")


@rule("ARC015", "parameter-concentration", level="warning", since="0.1")
def check(parameters: Parameters, graph: Graph, options: ParameterConcentration) -> Iterator[Finding]:
    """One dense layer after a flatten holds nearly all parameters.

    ## What it does
    Reports a linear layer with more than 90 % of the parameters of a model of more than a million, that takes more than a
    hundred features for each one it gives. Embeddings and language-model heads (many outputs) are no such layers.

    ## Why is this bad?
    The layer memorises positions of the flattened map: it overfits, ties the model to one input size and hides what the layers
    before it learn. Mostly a pooling is missing before the flattening.

    ## Example
        nn.Flatten(), nn.Linear(64 * 56 * 56, 128)

    ## Use instead
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 128)

    ## References
    - Lin, Chen and Yan, 2014, arXiv:1312.4400, section 3.2: global average pooling
    """
    total = parameters.numel
    if total <= options.total:
        return
    dense = {name: op for op in graph.calls("linear") for name in op.parameters}
    for view in parameters.of_kind("weight"):
        if len(view.shape) != 2 or view.name not in dense or view.numel <= options.share * total:
            continue
        outputs, inputs = view.shape
        if inputs > options.ratio * outputs:
            yield Finding(
                at=view,
                message=f"{view.label} ({inputs} x {outputs}) holds {view.numel / total:.1%} of the model's {total} parameters "
                f"(limit {options.share:.0%}): it is the model",
                evidence={"share": view.numel / total, "inputs": inputs, "outputs": outputs, "limit": options.share},
                fix="pool before flattening (nn.AdaptiveAvgPool2d), or reduce the map with strides",
            )
