"""A forward with its loss, without the recorder: what the steps and the longer probes run again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from nnlint import kinds
from nnlint.finding import Skip
from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

T = TypeVar("T")


def sparing_gradients(run: Callable[[], T]) -> T:
    """Run without gradients; again with them where the code differentiates itself (forces from an energy, a gradient penalty)."""
    try:
        with torch.no_grad():
            return run()
    except RuntimeError as error:
        if not needs_gradients(error):
            raise
    with torch.enable_grad():
        return run()


def needs_gradients(error: RuntimeError) -> bool:
    """Whether code that was run without gradients raised because it differentiates."""
    return "not require grad" in str(error)


def loss_value(setup: TrainingSetup) -> float:
    """The loss of one forward as a number, without gradients where the code can do without.

    Raises:
        Skip: there is no loss to compute, or it is not a scalar.
    """
    return sparing_gradients(lambda: float(forward_loss(setup).detach()))


def forward_loss(setup: TrainingSetup, *, surrogate_seed: int | None = None) -> torch.Tensor:
    """One forward and its scalar loss.

    Args:
        setup: model, inputs, targets and loss.
        surrogate_seed: where there is no loss, the seed of the random projection of the outputs that stands in for it.

    Raises:
        Skip: there is no loss to compute, or it is not a scalar.
    """
    output, loss = setup.run()
    if loss is None and surrogate_seed is not None:
        loss = random_projection(output, seed=surrogate_seed)
    if loss is None:
        raise Skip("no loss given")
    if loss.numel() != 1:
        raise Skip(f"the loss is not a scalar: shape {tuple(loss.shape)}")
    return loss


def random_projection(output: Any, *, seed: int) -> torch.Tensor | None:
    """Mean of the floating outputs weighted with random numbers; None where there is nothing to differentiate.

    A plain sum would have no gradient through a softmax or a layer norm.
    """
    generator = torch.Generator().manual_seed(seed)
    terms = []
    for _, tensor in tensor_leaves(output):
        if tensor.is_floating_point() and tensor.numel():
            weights = torch.randn(tensor.shape, generator=generator).to(tensor)
            terms.append((tensor * weights).mean().float())
    return torch.stack(terms).sum() if terms else None


class RectifierCounts(TorchFunctionMode):
    """Counts, while active, the units of each rectifier call that are zero for the whole batch, in call order.

    Args:
        units: how many units each rectifier has: tells which axis of its output is theirs.
    """

    def __init__(self, units: Sequence[int]) -> None:
        super().__init__()
        self._units = tuple(units)
        self._found: list[torch.Tensor | None] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the call; count where it is a rectifier."""
        result = func(*args, **(kwargs or {}))
        if torch.compiler.is_compiling():
            return result  # a compiled part of the model: what is traced here would become part of it
        name = kinds.canonical(getattr(func, "__name__", ""))
        if "rectifier" in kinds.info(name).kinds and isinstance(result, torch.Tensor) and result.dim() > 1:
            self._found.append(self._dead(result.detach()))
        return result

    def _dead(self, output: torch.Tensor) -> torch.Tensor | None:
        position = len(self._found)
        units = self._units[position] if position < len(self._units) else None
        # The order in which the recorder's statistics prefer them: channels, then the last dimension.
        axes = (1, output.dim() - 1) if output.dim() != 3 else (2, 1)
        axis = next((axis for axis in axes if output.shape[axis] == units), None)
        if axis is None:
            return None
        return (output.amax(dim=[dim for dim in range(output.dim()) if dim != axis]) <= 0).sum()

    def clear(self) -> None:
        """Forget what was counted."""
        self._found.clear()

    def settle(self) -> list[int | None]:
        """Never active units of each rectifier call; None where the call is not the expected one."""
        return [int(dead) if dead is not None else None for dead in self._found]
