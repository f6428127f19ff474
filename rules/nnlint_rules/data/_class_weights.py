"""Class weights beside how often each class occurs: whether they rise with it, and whether they are its inverse in another order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nnlint import Finding
from nnlint_rules.data._labels import batch_labels

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch, MeasuredLoss


#: So few classes have weights that rise by chance, unless they do so exactly.
_FEW, _CERTAIN = 3, 0.97
#: Powers of the frequencies that weights made of them rise with: as they do, or as their roots.
GIVEN = (0.4, 1.4)
#: The same of weights that are measured: nobody said that these numbers are class weights (the alpha of a focal loss is 0.25).
MEASURED = (0.8, 1.25)


def differ(weights: Sequence[float], sizes: Sequence[int], *, noise: float, ratio: float) -> bool:
    """Whether the counts are apart by so many standard deviations, and weights and counts by this ratio."""
    by_count = max(sizes) - min(sizes) > noise * math.sqrt(max(sizes) + min(sizes))
    return by_count and max(weights) / min(weights) >= ratio and max(sizes) / min(sizes) >= ratio


def class_counts(call: MeasuredLoss, batch: Batch | None, classes: int) -> list[int]:
    """How many labels each class has: in the batches that can be read, at least in the one that the loss was given."""
    import torch

    found = batch_labels(batch) if batch is not None else []
    given = call.target_value
    labels = torch.cat(found) if found else given.reshape(-1) if given is not None and not given.is_floating_point() else None
    if labels is None:
        return []
    valid = labels[(labels >= 0) & (labels < classes) & (labels != call.argument("ignore_index", -100))]
    return [int(count) for count in torch.bincount(valid.long(), minlength=classes)]


def rise_together(weights: Sequence[float], sizes: Sequence[int], *, powers: tuple[float, float], least: float) -> bool:
    """Whether the weights rise with the frequencies. Of two or three any may by chance: those have to rise as a power of them.

    Args:
        weights: of the classes, all positive.
        sizes: how many labels each class has.
        powers: smallest and largest power that few weights may rise with: `GIVEN` or `MEASURED`.
        least: correlation of the logarithms from which they rise together.
    """
    logs = [math.log(w) for w in weights], [math.log(n) for n in sizes]
    power = (max(logs[0]) - min(logs[0])) / (max(logs[1]) - min(logs[1]))
    few = len(weights) <= _FEW
    return (not few or powers[0] <= power <= powers[1]) and _correlation(*logs) >= (max(least, _CERTAIN) if few else least)


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson's correlation; 0 where one side does not vary."""
    means = sum(one) / len(one), sum(other) / len(other)
    a, b = [x - means[0] for x in one], [x - means[1] for x in other]
    scale = math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / scale if scale > 0 else 0.0


def is_permuted(weights: Sequence[float], sizes: Sequence[int], *, deviation: float) -> bool:
    """Whether the weights are those of the inverse frequencies, but not each at its class."""
    inverse = [1.0 / n for n in sizes]
    scale = math.exp(sum(map(math.log, weights)) / len(weights) - sum(map(math.log, inverse)) / len(inverse))
    wanted = [scale * value for value in inverse]
    sorted_match = all(abs(w / v - 1) <= deviation for w, v in zip(sorted(weights), sorted(wanted), strict=True))
    return len(weights) > 2 and sorted_match and any(w / v > 2 or v / w > 2 for w, v in zip(weights, wanted, strict=True))


def wrong_pos_weight(call: MeasuredLoss, weight: Tensor, *, noise: float, ratio: float) -> Iterator[Finding]:
    """A `pos_weight` (a number, or one for each class) that is not positive, or the ratio of positives to negatives.

    Args:
        call: the loss, with its targets.
        weight: the `pos_weight` it was given.
        noise: standard deviations by which the targets must be out of balance.
        ratio: of two weights, from which they differ.
    """
    targets = call.target_value
    if bool((weight <= 0).any()):
        yield Finding(
            at=call,
            message=f"pos_weight of {call.label} is {float(weight.min()):.3g}: positive targets {_cost(float(weight.min()))}",
            evidence={"pos_weight": float(weight.min()), "limit": 0.0},
            fix="set pos_weight to the number of negatives over that of positives of each class",
        )
    elif targets is not None and targets.is_floating_point() and targets.dim():
        positives = targets.double().reshape(-1, targets.shape[-1] if weight.numel() > 1 else 1)
        share = positives.mean(0).clamp(1e-9, 1 - 1e-9)
        odds, given = share / (1 - share), weight.double().reshape(-1)
        enough = abs(share - 0.5) > noise * 0.5 / math.sqrt(len(positives))
        inverted = (given / odds).log().abs() < math.log(ratio)
        if odds.numel() == given.numel() and bool((enough & inverted & (given.log().abs() > math.log(ratio))).all()):
            side = "positives" if float(given.mean()) < 1 else "negatives"
            yield Finding(
                at=call,
                message=f"pos_weight of {call.label} is the ratio of positives to negatives ({float(given.mean()):.2g}) instead of "
                f"its inverse: the rare {side} count even less",
                evidence={"pos_weight": float(given.mean()), "share_of_positives": float(share.mean())},
                fix="invert it: `pos_weight = negatives / positives`",
                confidence="medium",
            )


def _cost(weight: float) -> str:
    return "cost nothing" if weight == 0 else "are rewarded for being missed"
