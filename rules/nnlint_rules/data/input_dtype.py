"""DAT008: inputs whose dtype is not that of the layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules.data._inputs import Route, routes

if TYPE_CHECKING:
    from nnlint import Batch, Graph


class InputDtype(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#input-scale."""

    largest: int = Field(
        16, description="largest integer that may go into layers unscaled: one-hot planes, small counts"
    )


@rule("DAT008", "input-dtype", level="error", since="0.1")
def check(batch: Batch, graph: Graph, options: InputDtype) -> Iterator[Finding]:
    """Integer images, or double precision inputs, that reach layers by a cast.

    ## What it does
    Follows the inputs to the first layer. Integers with three dimensions or more (images, audio) that are cast to float on the
    way without being scaled are an error, and so are inputs that the first layer refuses for their dtype. Double precision
    inputs cast down in the model are an info: only time and memory are lost. Token ids, which go into an embedding, are fine.

    ## Why is this bad?
    Bytes cast to float are values from 0 to 255, a hundred times the scale that initializations assume. In `nn.Module` code the
    cast hides that the scaling was forgotten.

    ## Example
        def forward(self, images):              # uint8
            return self.net(images.float())

    ## Use instead
        def forward(self, images):
            return self.net(images.float() / 255.0)

    ## References
    - PyTorch: type promotion; torchvision `ToTensor` (bytes become floats in [0, 1])
    """
    batch.require_real()
    for route in routes(batch, graph):
        fault = _fault(route, graph, options)
        if fault is None:
            continue
        level, reason, fix = fault
        yield Finding(
            at=route.layers[0],
            level=level,
            message=f"{route.tensor.name} is {route.tensor.dtype} of shape {route.tensor.shape} and {reason}",
            evidence={
                "input": route.tensor.name,
                "dtype": route.tensor.dtype,
                "min": route.tensor.min,
                "max": route.tensor.max,
            },
            fix=fix,
        )


def _fault(route: Route, graph: Graph, options: InputDtype) -> tuple[Level | None, str, str] | None:
    tensor = route.tensor
    if not route.layers or not (tensor.is_integer or tensor.dtype == "float64"):
        return None
    layer = route.layers[0]
    cast = any(op.is_kind("cast") for op in route.passed)
    if graph.method == "symbolic" and not cast and _weight_dtype(route) != tensor.dtype:
        return (
            None,
            f"is passed to {layer.label}, whose weights are {_weight_dtype(route)}",
            "cast it where the data is read: x.float()",
        )
    if not cast or not route.feeds_layers:
        return None
    if tensor.dtype == "float64":
        return (
            Level.INFO,
            f"is cast down before {layer.label}",
            "give float32: torch.tensor(array, dtype=torch.float32)",
        )
    if len(tensor.shape) < 3 or max(abs(tensor.min), abs(tensor.max)) <= options.largest:
        return None
    reason = f"reaches {layer.label} by a cast alone, with values from {tensor.min:g} to {tensor.max:g}"
    return None, reason, "scale it too: x.float() / 255.0, then standardize"


def _weight_dtype(route: Route) -> str:
    """Dtype of the first layer's parameters; float32 where it is unknown."""
    return next((op.dtype for op in route.layers[0].inputs if op.is_kind("parameter") and op.dtype), "float32")
