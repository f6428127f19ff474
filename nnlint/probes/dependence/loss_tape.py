"""What torch's loss functions are given in one run: predictions and targets as live tensors."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from nnlint import kinds


@dataclass(frozen=True, eq=False)
class TapedLoss:
    """One call of a loss function.

    Attributes:
        kind: its canonical name.
        prediction, target: the tensors as passed.
        arguments: all arguments by name (`ignore_index`, `reduction`).
    """

    kind: str
    prediction: Tensor = field(repr=False)
    target: Tensor = field(repr=False)
    arguments: dict[str, Any] = field(repr=False)

    @property
    def weighted_target(self) -> Tensor:
        """The target, with -1 for labels of classes whose weight is zero: they do not count."""
        weight, target = self.arguments.get("weight"), self.target
        if self.kind not in kinds.CLASS_LOSSES or not isinstance(weight, Tensor) or target.is_floating_point():
            return target
        known = (target >= 0) & (target < len(weight))
        return target.masked_fill(known & (weight[target.clamp(0, len(weight) - 1)] == 0), -1)


class LossTape(TorchFunctionMode):
    """Notes, while active, every call of a loss function that compares a prediction with targets."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[TapedLoss] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the call; note it where it is a loss."""
        kwargs = kwargs or {}
        name = kinds.canonical(getattr(func, "__name__", ""))
        if "loss" in kinds.info(name).kinds:
            self._note(func, name, args, kwargs)
        return func(*args, **kwargs)

    def _note(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            given = dict(inspect.signature(func).bind(*args, **kwargs).arguments)
        except (TypeError, ValueError):
            given = dict(zip(("input", *kinds.info(name).parameters), args, strict=False)) | kwargs
        prediction, target = given.get("input"), given.get("target")
        if isinstance(prediction, Tensor) and isinstance(target, Tensor):
            self.calls.append(TapedLoss(name, prediction, target, given))
