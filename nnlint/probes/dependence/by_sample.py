"""Outputs with the axis of the samples first, wherever it is, and what replacing one sample changes in those of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from nnlint.probes.dependence.outputs import relative_difference, spread, zeroed

Shapes = tuple[tuple[int, ...], ...]

#: Larger relative changes are real, smaller ones rounding (kernels choose other blocks for other data).
INFLUENCE = 1e-5
#: Of the largest output: a smaller change is rounding, whatever it is compared with. Single precision has steps of 1.2e-7.
_ROUNDING = 5e-7


@dataclass(frozen=True)
class Look:
    """One comparison of a batch with the same batch, its first sample replaced.

    Attributes:
        constant: the samples cannot be told apart to begin with.
        influence: change of the other samples' outputs, relative to the largest output or, where that is more, to what changed in
            the outputs of the replaced sample: outputs that are nearly alike for all samples hide a small change.
        of_own: whether it is relative to the latter.
        pairwise: only outputs of shape (batch, batch) change.
    """

    constant: bool
    influence: float
    pairwise: bool
    of_own: bool = False


def sample_axes(outputs: Sequence[torch.Tensor], samples: int, fewer: Callable[[], Shapes]) -> list[int | None]:
    """The axis of the samples in each output: the first, or the one that shrinks with the batch (time-major outputs).

    Args:
        outputs: for the whole batch.
        samples: its size.
        fewer: gives the shapes of the outputs for one sample fewer, none where the batch cannot be cut; asked only if needed.
    """
    axes: list[int | None] = [0 if tensor.shape[:1] == (samples,) else None for tensor in outputs]
    if all(axis is not None or samples not in tensor.shape for axis, tensor in zip(axes, outputs, strict=True)):
        return axes
    shapes = fewer()
    return shrinking_axes(outputs, samples, shapes, axes) if len(shapes) == len(outputs) else axes


def shrinking_axes(
    outputs: Sequence[torch.Tensor], samples: int, fewer: Shapes, known: Sequence[int | None] = ()
) -> list[int | None]:
    """The axis that shrinks with the batch, for each output whose axis is not known; None where there is no single one."""
    given = known or [None] * len(outputs)
    return [
        axis if axis is not None else _shrinking(tuple(tensor.shape), shape, samples)
        for axis, tensor, shape in zip(given, outputs, fewer, strict=True)
    ]


def _shrinking(whole: tuple[int, ...], cut: tuple[int, ...], samples: int) -> int | None:
    if len(whole) != len(cut):
        return None
    changed = [axis for axis, (one, other) in enumerate(zip(whole, cut, strict=True)) if one != other]
    # Samples against samples shrink along both axes: the first is as good as the other.
    return changed[0] if changed and all((whole[a], cut[a]) == (samples, samples - 1) for a in changed) else None


def compared(
    base: Sequence[torch.Tensor], changed: Sequence[torch.Tensor], axes: Sequence[int | None], samples: int
) -> Look | None:
    """The comparison; None where no output has an axis of samples."""
    pairs = [
        (a.movedim(axis, 0), b.movedim(axis, 0))
        for a, b, axis in zip(base, changed, axes, strict=False)
        if axis is not None and a.shape == b.shape
    ]
    if not pairs:
        return None
    square = [pair for pair in pairs if tuple(pair[0].shape[1:]) == (samples,)]
    others, of_own = _influence([pair for pair in pairs if tuple(pair[0].shape[1:]) != (samples,)])
    squares, _ = _influence(square)
    return Look(
        constant=(spread([a for a, _ in pairs], samples) or 0.0) <= INFLUENCE,
        influence=max(others, squares),
        pairwise=squares > INFLUENCE >= others,
        of_own=of_own and others >= squares,
    )


def _influence(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[float, bool]:
    """The largest influence on other samples, and whether it is relative to the change of the own output."""
    found = [(relative_difference([a[1:]], [b[1:]]), False) for a, b in pairs]
    found += [(_of_own(a, b), True) for (a, b), (whole, _) in zip(pairs, found, strict=True) if whole > _ROUNDING]
    return max(found, default=(0.0, False), key=lambda item: item[0])


def _of_own(a: torch.Tensor, b: torch.Tensor) -> float:
    """Change of the other samples over the change of the first; 0 where that did not change."""
    change = (zeroed(a) - zeroed(b)).abs()
    own = float(change[0].max()) if change[0].numel() else 0.0
    return float(change[1:].max()) / own if own > 0.0 and change[1:].numel() else 0.0
