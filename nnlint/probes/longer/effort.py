"""How much arithmetic one training step is: what the step counts of the longer probes go by.

Never by the clock: the same model gets the same number of steps on every machine, so that the same seed gives the same report.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from nnlint.capture.graph import Graph, Op

#: What calling one operation costs besides its arithmetic, in multiply-adds (docs/evidence/calibration.md#effort).
_CALL = 1_000_000
#: What updating one parameter, and what writing one number of an output costs, in multiply-adds.
_UPDATE = 10
_WRITE = 10


def forward_work(graph: Graph, model: nn.Module) -> int:
    """Multiply-adds of the recorded forward, calls and the update of the parameters included."""
    sizes = {name: parameter.shape.numel() for name, parameter in model.named_parameters() if parameter.dim() > 1}
    calls = [op for op in graph.ops if not op.is_kind("input", "parameter", "buffer")]
    arithmetic = sum(_multiply_adds(op, sizes) + _WRITE * math.prod(op.shape or ()) for op in calls)
    return arithmetic + _CALL * len(calls) + _UPDATE * sum(sizes.values())


def _multiply_adds(op: Op, sizes: dict[str, int]) -> int:
    """Every weight is used once for each output position; a product of two activations is as long as their last dimension."""
    if not op.shape:
        return 0
    if op.is_kind("matmul", "attention") and not op.is_kind("linear-map"):
        shape = op.input.shape if op.input is not None else None
        return math.prod(op.shape) * (shape[-1] if shape else 1) * (2 if op.is_kind("attention") else 1)
    if not op.is_kind("linear-map", "recurrent"):
        return 0
    weights = sum(sizes.get(name, 0) for name in op.parameters)
    channels = op.shape[1] if op.is_kind("conv") and len(op.shape) > 2 else op.shape[-1]
    return weights * (math.prod(op.shape) // max(channels, 1))


def steps_within(work: float, budget: float, *, least: int, most: int) -> int:
    """How many steps of this much work a budget of multiply-adds pays for, between two limits."""
    return max(least, min(most, int(budget / max(work, 1.0))))
