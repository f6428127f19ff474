"""How much of a loss comes from the scale of the inputs: nets of layers and rectifiers without a norm pass it on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nnlint_rules.data._inputs import routes

if TYPE_CHECKING:
    from nnlint import Batch, Graph, MeasuredLoss, Op

_LARGE = 10.0  # root mean square of inputs that nobody calls scaled
_LIMITING = ("norm", "saturating", "softmax", "log-softmax", "recurrent", "attention")


def input_scale(batch: Batch | None, graph: Graph, prediction: Op) -> float:
    """The scale that the prediction has from its inputs; 1 where they are scaled, or the model limits what it passes on."""
    if batch is None or batch.assumed or any(op.is_kind(*_LIMITING) for op in graph.ancestors(prediction)):
        return 1.0
    fed = [route.tensor for route in routes(batch, graph) if route.tensor.is_floating and route.feeds_layers]
    scale = max((math.hypot(tensor.mean, tensor.std) for tensor in fed if tensor.finite), default=1.0)
    return scale if scale > _LARGE else 1.0


def rescaled(call: MeasuredLoss, scale: float) -> MeasuredLoss:
    """The loss call as if its inputs had a scale of 1; the value itself is not known then."""
    value = call.prediction_value
    return type(call)(call.op, value / scale if value is not None else None, call.target_value)
