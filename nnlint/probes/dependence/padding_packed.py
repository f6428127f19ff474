"""Packed sequences in a part of a batch: unpacked to the length that they have beside the longest sample of the whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph

_UNPACK = "_pad_packed_sequence"
#: Places among the arguments of that function: whether samples come first, and the total length.
_BATCH_FIRST, _TOTAL = 2, 4


class Unpacked(TorchFunctionMode):
    """Gives unpacked sequences the padding that the samples have in their batch.

    `pad_packed_sequence` pads to the longest sample that is there: without this, a few samples taken from a batch bring no padding
    into what comes after a recurrent layer.

    Attributes:
        lengths: steps of the packed sequences -> positions to unpack them to; others stay as they are.
    """

    def __init__(self, lengths: Mapping[int, int]) -> None:
        super().__init__()
        self.lengths = lengths

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the call, with another total length where it unpacks."""
        if getattr(func, "__name__", "") == _UNPACK and len(args) > _TOTAL and isinstance(args[1], Tensor):
            wanted = self.lengths.get(len(args[1]), 0)
            args = (*args[:_TOTAL], max(args[_TOTAL], wanted), *args[_TOTAL + 1 :])
        return func(*args, **(kwargs or {}))


def unpacked_in(graph: Graph) -> dict[int, int]:
    """For `Unpacked`: whatever there is of it, as many positions as the recorded run unpacked; empty where it unpacked nothing."""
    ops = [op for op in graph.ops if op.name == _UNPACK and op.shape is not None and len(op.node.args) > _TOTAL]
    longest = max((op.shape[1 if op.node.args[_BATCH_FIRST] else 0] for op in ops if op.shape), default=0)
    return dict.fromkeys(range(1, longest), longest)
