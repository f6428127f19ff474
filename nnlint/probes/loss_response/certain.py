"""Certain answers, larger than certain ones, and targets that the loss does not react to: what form it wants them in.

Calibration of the limits: docs/evidence/calibration.md#code-limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nnlint.probes.loss_response.answers import Form
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
    """Share of samples whose label 0 leaves the loss without a gradient, where -1 in its place would give one.

    None for other targets, where the loss listens to all of them, and where they are weights (a mask): there, -1 gives all samples
    the gradient of 1 with its sign turned.
    """
    if len(caller.targets) != 1 or caller.targets[0].numel() != samples or samples < _FEW:
        return None
    target = caller.targets[0]
    if target.dtype is torch.bool or set(target.unique().tolist()) != {0, 1}:
        return None
    silent = (target == 0).reshape(-1)
    places = [place for place, leaf in enumerate(caller.leaves) if leaf.requires_grad and leaf.shape[:1] == (samples,)]
    heard, is_weight = False, True
    try:
        for place in places:
            for leaves in _varied(caller, place):
                given = _sizes(caller, leaves, place)
                if bool((given[silent] > 0).any()):
                    return None
                above, below = (
                    _sizes(replace(caller, targets=(torch.full_like(target, sign),)), leaves, place) for sign in (1, -1)
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


def _sizes(caller: LossCaller, leaves: Sequence[Tensor], place: int) -> Tensor:
    """Size of the gradient at each sample's output."""
    return caller.gradient(leaves, place).abs().reshape(len(leaves[place]), -1).amax(1)
