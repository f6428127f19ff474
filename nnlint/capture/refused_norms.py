"""A normalization that raised because it would take mean and variance of one number. The graph ends before it, so that it is no op."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnlint import kinds
from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from nnlint.capture.modules import ModuleCall
    from nnlint.finding import Location


@dataclass(frozen=True)
class RefusedNorm:
    """A call of a norm that raised.

    Attributes:
        module_path, location: the innermost module being called, and the user's line.
        label: what to call it in a message.
        op: canonical name of the call ("batch_norm").
        shape: of its input.
    """

    module_path: str
    location: Location | None
    label: str
    op: str
    shape: tuple[int, ...]

    @property
    def positions(self) -> int:
        """How many positions a sample has in each channel."""
        return math.prod(self.shape[2:])


def refused_norm(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], call: ModuleCall | None, location: Location | None
) -> RefusedNorm | None:
    """The norm that raised, by the canonical name and arguments of the call; None for other calls, and where there are several values."""
    if "norm" not in kinds.info(name).kinds:
        return None
    given = next((tensor for _, tensor in tensor_leaves((args, kwargs), depth=2)), None)
    if given is None or given.dim() < 2 or not _is_single(name, given):
        return None
    path, kind = (call.path, call.type_name) if call is not None else ("", "")
    label = f"{path} ({kind})" if call is not None and call.is_torch_layer else f"{name} in {path or kind}"
    return RefusedNorm(path, location, label, name, tuple(given.shape))


def _is_single(name: str, given: torch.Tensor) -> bool:
    """Whether each channel has one value: of all samples, or of each."""
    samples = 1 if name == "instance_norm" else given.shape[0]
    return samples * math.prod(given.shape[2:]) == 1
