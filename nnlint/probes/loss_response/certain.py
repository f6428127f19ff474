"""Certain answers, larger than certain ones, and targets that the loss does not react to: what form it wants them in.

Calibration of the limits: docs/evidence/calibration.md#code-limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from nnlint.probes.loss_response.answers import ENTRIES, Form
from nnlint.probes.loss_response.caller import LossCaller, Refused
from nnlint.probes.loss_response.stats import Certainty

#: How many times as large as a certain answer an answer is tried.
_BEYOND = 3.0
#: Size of outputs that are beyond the usual margins.
_FAR = 3.0
_FEW = 8


def certainty(caller: LossCaller, form: Form) -> Certainty | None:
    """The loss where the output is exactly the targets (0 and 1), where it is wrong, and where it is three times the targets."""
    if form.axis is None:
        if set(form.labels.unique().tolist()) != {0.0, 1.0}:
            return None
        right, wrong = form.labels, 1 - form.labels
    else:
        sure = replace(form, name="probabilities")
        right, wrong = sure.answer(form.labels), sure.answer(next(iter(form.mixed_up(torch.Generator().manual_seed(0)))))
    output = caller.leaves[form.leaf].detach()
    outside = float(((output < 0) | (output > 1)).double().mean())
    try:
        at, away, beyond = (
            caller.value(caller.with_leaf(form.leaf, answer)) for answer in (right, wrong, _BEYOND * right)
        )
    except Refused:
        return None
    return Certainty(at, away, beyond, outside, free=form.leaf in caller.free, one_hot=form.axis is not None)


def unheard(caller: LossCaller, samples: int) -> float | None:
    """Share of the targets that are 0 and leave the loss without a gradient, where -1 in their place would give one.

    There is one target for a sample, or one for each entry of an output.

    None for other targets, where the loss listens to all of them, and where they are weights (a mask): there, -1 gives all samples
    the gradient of 1 with its sign turned.
    """
    if len(caller.targets) != 1 or samples < _FEW or caller.targets[0].numel() < samples:
        return None
    target = caller.targets[0]
    each = target.numel() > samples
    if target.dtype is torch.bool or set(target.unique().tolist()) != {0, 1}:
        return None
    silent = (target == 0).reshape(-1)
    places = [
        place
        for place, leaf in enumerate(caller.leaves)
        if leaf.requires_grad and leaf.shape[:1] == (samples,) and (not each or leaf.numel() == target.numel())
    ]
    heard, is_weight = False, True
    try:
        for place in places:
            for leaves in _varied(caller, place):
                given = _sizes(caller, leaves, place, target.numel())
                if bool((given[silent] > 0).any()):
                    return None
                above, below = (
                    _sizes(replace(caller, targets=(torch.full_like(target, sign),)), leaves, place, target.numel())
                    for sign in (1, -1)
                )
                heard |= bool((given[~silent] > 0).any()) and bool((below[silent] > 0).any())
                is_weight &= torch.allclose(above * below.sum(), below * above.sum(), rtol=1e-2, atol=0.0)
    except Refused:
        return None
    return float(silent.double().mean()) if heard and not is_weight else None


def _varied(caller: LossCaller, place: int) -> list[Sequence[Tensor]]:
    """The output as it is, and two others: of its size, and far on either side of any margin."""
    output = caller.leaves[place].detach()
    noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output)
    return [caller.leaves, *(caller.with_leaf(place, size * noise) for size in (float(output.abs().mean()), _FAR))]


def _sizes(caller: LossCaller, leaves: Sequence[Tensor], place: int, rows: int) -> Tensor:
    """Size of the gradient at the outputs of each of so many targets."""
    return caller.gradient(leaves, place).abs().reshape(rows, -1).amax(1)


def deaf(caller: LossCaller) -> bool:
    """Whether no output gets a gradient with these targets, whatever it is, where other targets of their kind give it one.

    So is a loss whose mask leaves out every target.
    """
    if not caller.targets or sum(target.numel() for target in caller.targets) > ENTRIES:
        return False
    places = [place for place, leaf in enumerate(caller.leaves) if leaf.requires_grad and leaf.numel() <= ENTRIES]
    try:
        if any(bool(caller.gradient(leaves, place).any()) for place in places for leaves in _varied(caller, place)):
            return False
    except Refused:
        return False
    for place in places:
        for others in _other_targets(caller, place):
            with suppress(Refused):
                if bool(caller.gradient(caller.leaves, place, others).any()):
                    return True
    return False


def _other_targets(caller: LossCaller, place: int) -> Iterator[tuple[Tensor, ...]]:
    """The targets with labels in place of whole numbers, for the classes that an axis of the output may hold."""
    generator = torch.Generator().manual_seed(0)
    output = caller.leaves[place]
    for axis in dict.fromkeys((min(1, output.dim() - 1), output.dim() - 1)) if output.dim() else ():
        count = output.shape[axis] if output.dim() > 1 and output.shape[axis] > 1 else 2
        yield tuple(
            target
            if target.dtype is torch.bool or target.is_complex() or not bool((target == target.round()).all())
            else torch.randint(0, count, target.shape, generator=generator).to(target)
            for target in caller.targets
        )
