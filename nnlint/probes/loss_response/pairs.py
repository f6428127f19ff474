"""Losses without a right answer for each sample: do they draw together what belongs together?

What belongs together is read from the inputs (two views of a sample, an anchor and its positive, pairs that a label calls the
same) or from class numbers; the outputs are replaced by random directions that agree where they should, and by ones that do not.
Calibration of the limits: docs/evidence/calibration.md#code-limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnlint.probes.loss_response.caller import LossCaller, Refused
from nnlint.probes.loss_response.stats import Togetherness

#: Random directions and assignments tried; all have to agree.
_SEEDS, _ASSIGNMENTS = 3, 5
#: The difference between agreeing and other outputs, over the loss and over the spread of the latter.
_CLEAR, _SPREADS = 0.01, 3.0
#: Distance between the two inputs of a pair over that to any other's: above, they are not called close.
_CLOSE = 0.8
#: Share of the samples that have to be closer to their partner than to another's.
_MOST = 0.9
#: Standard errors between the distances of pairs with one label and with the other.
_CERTAIN = 5.0
_FEW = 8


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which rows of which outputs should agree with the first one's.

    Attributes:
        leaves: the outputs, the first of them the anchor.
        agree: for each output after the first, which of its rows belong to the anchor's.
        how: where that is known from, in words.
    """

    leaves: tuple[int, ...]
    agree: tuple[Tensor, ...]
    how: str


def togetherness(caller: LossCaller, inputs: Sequence[Tensor], *, coupled: bool) -> Togetherness | None:
    """Whether the loss is lower where outputs agree that belong together.

    Args:
        caller: the loss.
        inputs: the model's inputs, in the order of its arguments.
        coupled: the gradient at one sample depends on the other samples.

    Returns:
        None where nothing tells what belongs together, or the loss makes no clear difference.
    """
    by_class = _by_class(caller) if coupled else None
    if by_class is not None:
        return by_class
    if coupled and len(inputs) == 1:
        caller, inputs = _halved(caller, inputs[0])
    verdicts = [found for plan in _plans(caller, inputs, coupled=coupled) if (found := _of_plan(caller, plan)) is not None]
    if not verdicts or len({found.prefers_agreement for found in verdicts}) > 1:
        return None
    return verdicts[0]


# -------------------------------------------------------------------- class numbers


def _by_class(caller: LossCaller) -> Togetherness | None:
    """Embeddings beside class numbers: one direction for each class, against the same rows in any other order."""
    for target in caller.targets:
        for place, leaf in enumerate(caller.leaves):
            if not _is_rows(leaf) or target.is_floating_point() or target.numel() != len(leaf):
                continue
            distinct, code, counts = target.reshape(-1).unique(return_inverse=True, return_counts=True)
            if len(distinct) < 2 or int(counts.max()) < 2 or len(leaf) < _FEW:
                continue
            tries = []
            for seed in range(_SEEDS):
                generator = torch.Generator().manual_seed(seed)
                right = _rows(leaf, generator)[code] + 0.02 * _rows(leaf, generator)
                orders = [torch.randperm(len(leaf), generator=generator) for _ in range(_ASSIGNMENTS)]
                tries.append((caller.with_leaf(place, right), [caller.with_leaf(place, right[order]) for order in orders]))
            return _judged(caller, tries, "their class numbers")
    return None


# -------------------------------------------------------------------- several inputs


def _halved(caller: LossCaller, rows: Tensor) -> tuple[LossCaller, list[Tensor]]:
    """One batch that holds two views of each sample, one below the other, as two inputs with two outputs."""
    leaf = caller.leaves[0]
    if len(caller.leaves) != 1 or not _is_rows(leaf) or len(rows) != len(leaf) or len(rows) % 2:
        return caller, [rows]

    def compute(leaves: Sequence[Tensor], targets: Sequence[Tensor]) -> Any:
        return caller.compute([torch.cat([*leaves])], targets)

    return replace(caller, leaves=tuple(leaf.detach().chunk(2)), compute=compute), [*rows.chunk(2)]


def _plans(caller: LossCaller, inputs: Sequence[Tensor], *, coupled: bool) -> Iterator[_Plan]:
    rows = [place for place, leaf in enumerate(caller.leaves) if _is_rows(leaf)]
    rows = [place for place in rows if caller.leaves[place].shape == caller.leaves[rows[-1]].shape]
    views = [view for view in inputs if view.dim() and rows and len(view) == len(caller.leaves[rows[-1]])]
    if len(views) < 2 or len(rows) < len(views) or len(rows) % len(views) or len(views[0]) < _FEW:
        return
    agreement = _agreement(views, caller.targets, coupled=coupled)
    if agreement is None:
        return
    agree, how = agreement
    each = len(rows) // len(views)
    # The outputs of one input side by side, or one output of every input side by side.
    orders = {tuple(rows[view * each + turn] for view in range(len(views))) for turn in range(each)}
    orders |= {tuple(rows[turn * len(views) + view] for view in range(len(views))) for turn in range(each)}
    for order in sorted(orders):
        yield _Plan(order, agree, how)


def _agreement(views: Sequence[Tensor], targets: Sequence[Tensor], *, coupled: bool) -> tuple[tuple[Tensor, ...], str] | None:
    """Which rows of each further input belong to those of the first, and where that is known from."""
    anchor = views[0]
    if targets:
        if len(views) != 2 or len(targets) != 1:
            return None
        same = _same_by_label(anchor, views[1], targets[0])
        return None if same is None else ((same,), "the inputs that a label calls the same are closer")
    numbers = not any(view.is_floating_point() for view in views)
    if coupled and numbers and len(views) == 2:
        # A user and an item, a question and its answer: the numbers tell nothing, and other samples are the negatives.
        return (torch.ones(len(anchor), dtype=torch.bool),), "they are given side by side, and compared with those of other samples"
    close = [_are_close(anchor, view) for view in views[1:]]
    if not any(close):
        return None
    every = torch.ones(len(anchor), dtype=torch.bool)
    return tuple(every if one else ~every for one in close), "their inputs are closer to each other than to other samples'"


def _flat(view: Tensor) -> Tensor:
    return view.detach().reshape(len(view), -1).double()


def _are_close(one: Tensor, other: Tensor) -> bool:
    """Whether rows of both are close to each other; inputs of different kinds (an image, its text) are paired by being given so."""
    if one.shape != other.shape or not (one.is_floating_point() and other.is_floating_point()):
        return one.shape[1:] != other.shape[1:]
    x, y = _flat(one), _flat(other)
    own = ((x - y) ** 2).sum(1)
    foreign = torch.stack([((x - y.roll(shift, 0)) ** 2).sum(1) for shift in (1, 2, 3)]).mean(0)
    return bool(own.mean() < _CLOSE * foreign.mean()) and float((own < foreign).double().mean()) >= _MOST


def _same_by_label(one: Tensor, other: Tensor, target: Tensor) -> Tensor | None:
    """The pairs whose label is that of the closer ones; None where the inputs do not tell."""
    label = target.detach().reshape(-1).double()
    values = label.unique()
    if len(label) != len(one) or len(values) != 2 or one.shape != other.shape or not one.is_floating_point():
        return None
    distance = ((_flat(one) - _flat(other)) ** 2).sum(1)
    groups = [distance[label == value] for value in values]
    if min(map(len, groups)) < _FEW // 2:
        return None
    error = sum(float(group.var()) / len(group) for group in groups) ** 0.5
    means = [float(group.mean()) for group in groups]
    if abs(means[0] - means[1]) <= _CERTAIN * error or min(means) > _CLOSE * max(means):
        return None
    closer: Tensor = label == values[means.index(min(means))]
    return closer


def _of_plan(caller: LossCaller, plan: _Plan) -> Togetherness | None:
    tries = []
    for seed in range(_SEEDS):
        generator = torch.Generator().manual_seed(seed)
        anchor = _rows(caller.leaves[plan.leaves[0]], generator)
        turns = [torch.arange(len(anchor)).roll(shift) for shift in range(1, _ASSIGNMENTS + 1)]
        tries.append(
            (
                _filled(caller, plan, anchor, turns[0], opposite=False),
                [_filled(caller, plan, anchor, turn, opposite=True) for turn in turns],
            )
        )
    return _judged(caller, tries, plan.how)


def _filled(caller: LossCaller, plan: _Plan, anchor: Tensor, order: Tensor, *, opposite: bool) -> list[Tensor]:
    """All outputs of the anchor's shape hold its rows, but where they should not agree (with `opposite`: where they should)."""
    leaves = [
        (anchor + 0.02 * anchor.roll(1, 0)).to(leaf) if _is_rows(leaf) and leaf.shape == anchor.shape else leaf
        for leaf in caller.leaves
    ]
    for place, agree in zip(plan.leaves[1:], plan.agree, strict=True):
        keep = (agree ^ opposite)[:, None].to(anchor.device)
        leaves[place] = torch.where(keep, leaves[place], anchor[order].to(leaves[place]))
    return leaves


# -------------------------------------------------------------------- verdict


def _is_rows(leaf: Tensor) -> bool:
    return leaf.dim() == 2 and leaf.shape[1] > 1 and leaf.is_floating_point() and bool(leaf.isfinite().all())


def _rows(leaf: Tensor, generator: torch.Generator) -> Tensor:
    """Random directions with the length that the rows of this output have."""
    noise = torch.randn(leaf.shape, generator=generator)
    length = torch.linalg.vector_norm(leaf.detach().float(), dim=1).mean().cpu()
    rows: Tensor = noise / torch.linalg.vector_norm(noise, dim=1, keepdim=True) * length
    return rows.to(leaf.device)


def _judged(
    caller: LossCaller, tries: Sequence[tuple[Sequence[Tensor], Sequence[Sequence[Tensor]]]], how: str
) -> Togetherness | None:
    found = []
    try:
        for right, others in tries:
            value, wrong = caller.value(right), torch.tensor([caller.value(other) for other in others])
            least = max(_CLEAR * max(abs(value), float(wrong.abs().max())), _SPREADS * float(wrong.std()))
            if value < float(wrong.min()) - least:
                found.append((True, value, float(wrong.mean())))
            elif value > float(wrong.max()) + least:
                found.append((False, value, float(wrong.mean())))
            else:
                return None
    except Refused:
        return None
    if len({verdict for verdict, _, _ in found}) != 1:
        return None
    verdict, together, apart = found[0]
    return Togetherness(prefers_agreement=verdict, together=together, apart=apart, how=how)
