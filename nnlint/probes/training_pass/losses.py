"""Evidence `LossCalls`: the loss as it was computed in the recorded run, and the tensors each loss function was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint.capture.graph import Graph
from nnlint.capture.loss_call import LossCall
from nnlint.capture.op import Op
from nnlint.finding import Location, Skip

if TYPE_CHECKING:
    import torch


class MeasuredLoss(LossCall):
    """A loss call with the tensors it was given.

    Attributes:
        prediction_value, target_value: detached tensors as passed; None where the argument was not a tensor, or
            nothing was run on real values.
        value: the detached result; None where the call raised, or nothing was run on real values.
        others: further tensors by the names of the functional's parameters: `weight`, `pos_weight`, `input_lengths`,
            `target_lengths`.
    """

    def __init__(
        self,
        op: Op,
        prediction: torch.Tensor | None = None,
        target: torch.Tensor | None = None,
        value: torch.Tensor | None = None,
        others: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__(op)
        self.prediction_value = prediction
        self.target_value = target
        self.value = value
        self.others = others or {}


@dataclass(frozen=True)
class LossCalls:
    """The loss of the run. Where the loss call raised, `calls` holds what it was given until then.

    Attributes:
        calls: the recognized loss functions that the loss depends on, in execution order.
        op: the op whose output backward starts from; None where the loss is no recorded tensor.
        value: the loss as a number; None where it is not a scalar.
        shape: its shape.
        requires_grad: whether it requires grad (has a `grad_fn`).
        is_tensor: False when the loss function returned a number or something else.
        type_name: class of what the loss returned.
        location: the line that made the loss.
        targets_assumed, inputs_assumed: they were made up by nnlint.
        raised: a loss function raised, or the loss returned no tensor: `op` and `value` are unknown.
        measured: the loss was computed on real values.
    """

    calls: tuple[MeasuredLoss, ...]
    graph: Graph
    op: Op | None
    value: float | None
    shape: tuple[int, ...]
    requires_grad: bool
    is_tensor: bool
    type_name: str
    trainable: bool
    targets_assumed: bool = False
    inputs_assumed: bool = False
    raised: bool = False
    measured: bool = True

    def __iter__(self) -> Iterator[MeasuredLoss]:
        return iter(self.calls)

    def require_targets(self) -> LossCalls:
        """This, or Skip when the targets are made up or nothing was run on real values."""
        if self.targets_assumed:
            raise Skip("needs real targets; nnlint generated them")
        return self.require_values()

    def require_values(self) -> LossCalls:
        """This, or Skip when nothing was run on real values."""
        if not self.measured:
            raise Skip("static check: the loss was not computed on real values")
        return self

    def require_result(self) -> LossCalls:
        """This, or Skip when the loss was not computed to its end."""
        if self.raised:
            raise Skip("the loss call raised (RUN003)")
        return self.require_values()

    def of(self, *kinds: str) -> tuple[MeasuredLoss, ...]:
        """Calls of these loss functions."""
        return tuple(call for call in self.calls if call.kind in kinds)

    @property
    def module_path(self) -> str:
        """Module that computed the loss; empty for a separate loss function."""
        return self.op.module_path if self.op is not None else ""

    @property
    def location(self) -> Location | None:
        """The line that made the loss."""
        return self.op.location if self.op is not None else None
