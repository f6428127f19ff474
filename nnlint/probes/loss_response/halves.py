"""The loss of both halves of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnlint.probes.loss_response.caller import LossCaller, Refused

if TYPE_CHECKING:
    from torch import Tensor


def halves(caller: LossCaller, samples: int) -> float | None:
    """The losses of the first and the second half of the batch, added; None where the batch cannot be cut."""
    if samples < 4:
        return None
    cut = samples // 2
    try:
        return sum(
            caller.value(_part(caller.leaves, samples, part), _part(caller.targets, samples, part))
            for part in (slice(0, cut), slice(cut, 2 * cut))
        )
    except Refused:
        return None


def _part(tensors: Sequence[Tensor], samples: int, part: slice) -> list[Tensor]:
    """The samples of a part; a tensor whose first axis holds several entries for each sample is cut alike."""
    made = []
    for tensor in tensors:
        if not tensor.dim() or tensor.shape[0] % samples or not tensor.shape[0]:
            made.append(tensor)
            continue
        each = tensor.shape[0] // samples
        made.append(tensor[part.start * each : part.stop * each])
    return made
