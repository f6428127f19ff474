"""Which of the answers that were tried a loss prefers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Fall, LossCalls, LossResponse, Preference


def wrong_over_right(response: LossResponse) -> Iterator[Preference]:
    """The comparisons over all targets in which wrong answers had the lower loss."""
    return (found for found in response.preferences if found.about is None and found.prefers_right is False)


def inverted_classes(response: LossResponse) -> Iterator[Preference]:
    """Single target values whose right answers are the worst, where those of another value are the best."""
    parts = [found for found in response.preferences if found.about is not None]
    forms = {found.form for found in parts if found.prefers_right}
    seen = set()
    for found in parts:
        if found.prefers_right is False and found.form in forms and found.about not in seen:
            seen.add(found.about)
            yield found


def has_signed_weights(losses: LossCalls, samples: int) -> bool:
    """Whether a tensor of unknown origin with one real number for each sample goes into the loss (advantages in a closure)."""
    ancestors = losses.graph.ancestors(losses.op) if losses.op is not None else frozenset()
    return any(
        op.is_kind("unknown")
        and op.dtype.startswith("float")
        and not op.requires_grad
        and (op.shape or (0,))[0] == samples
        for op in ancestors
    )


def is_frozen(losses: LossCalls, fall: Fall | None) -> bool:
    """Whether the layer that makes the output has weights, and none of them require grad."""
    outputs = losses.graph.outputs
    if fall is None or fall.leaf >= len(outputs):
        return False
    weights = [part for part in losses.graph.producer(outputs[fall.leaf]).inputs if part.is_kind("parameter")]
    return bool(weights) and not any(part.requires_grad for part in weights)
