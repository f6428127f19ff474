"""A call of a loss function, in a rule writer's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnlint.capture.op import Op
    from nnlint.finding import Location


class AtOp:
    """Something known of an op: its place is that of the op."""

    op: Op

    @property
    def module_path(self) -> str:
        """Module path of the op."""
        return self.op.module_path

    @property
    def location(self) -> Location | None:
        """Source line of the op."""
        return self.op.location


class LossCall(AtOp):
    """A call of a loss function whose value reaches the loss that backward starts from."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.kind = op.name
        first = op.argument("input")
        self.prediction: Op | None = first if isinstance(first, type(op)) else op.inputs[0] if op.inputs else None
        target = op.argument("target", op.argument("targets"))
        self.target: Op | None = target if isinstance(target, type(op)) else None

    @property
    def label(self) -> str:
        """`cross_entropy` with its place."""
        return self.kind if self.location is None else f"{self.kind} ({self.location.short})"

    @property
    def class_dim(self) -> int:
        """The dimension of the classes in the prediction: 1 for (N, C, ...), 0 for (C,); where it is written out, the one it says."""
        rank = len(self.prediction.shape or ()) if self.prediction is not None else 0
        written = self.op.argument("class_axis")
        if isinstance(written, int) and -rank <= written < rank:
            return written % rank
        return 0 if rank == 1 else 1

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument of the loss as called (`reduction`, `ignore_index`, ...)."""
        return self.op.argument(name, default)
