"""Outputs of which one part is compared with the targets: mean and variance side by side in one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nnlint.probes.loss_response.answers import Form, forms
from nnlint.probes.loss_response.caller import LossCaller, Refused, Unread

#: More parts than this are no parameters of a distribution.
_MOST = 4
#: Share of the gradient at wrong answers below which there is none at the target.
_STILL = 1e-3


def parts(caller: LossCaller) -> tuple[LossCaller, list[Form]]:
    """A caller whose outputs are cut along their last axis, and the parts that the loss compares with the targets.

    The gradient with respect to such a part is zero where it is the target, whatever the others hold: a variance has none of that.
    The caller as it was, and nothing, where there is no such part.
    """
    counts = [_count(leaf, caller.targets) for leaf in caller.leaves]
    spread = [form for form in _spread(caller) if _is_still(caller, form)]
    if spread or all(count == 1 for count in counts):
        return caller, spread
    cut = tuple(
        part.contiguous().requires_grad_(leaf.requires_grad)
        for leaf, count in zip(caller.leaves, counts, strict=True)
        for part in leaf.detach().chunk(count, -1)
    )

    def compute(leaves: Sequence[Tensor], targets: Sequence[Tensor]) -> Any:
        waiting = iter(leaves)
        whole = [
            torch.cat([next(waiting) for _ in range(count)], -1) if count > 1 else next(waiting) for count in counts
        ]
        return caller.compute(whole, targets)

    made = replace(caller, leaves=cut, compute=compute)
    found = [form for form in forms(cut, caller.targets, frozenset()) if _is_still(made, form)]
    return (made, found) if found else (caller, [])


def compared(caller: LossCaller, found: list[Form]) -> list[Form]:
    """Of several tensors of the output that all have the form of the targets, those that the loss compares with them."""
    if len({form.leaf for form in found}) > 1 or len({form.target for form in found}) > 1:
        found = [form for form in found if _meets(caller, form)]
    values = [form for form in found if form.axis is None and form.name == "values"]
    if len({form.leaf for form in values}) < 2:
        return found
    still = [form for form in values if _is_still(caller, form)]
    return [form for form in found if form not in values or form in still] if still else found


def _spread(caller: LossCaller) -> Iterator[Form]:
    """One target for a row of answers: the means of a mixture, several quantiles."""
    for place, target in enumerate(caller.targets):
        for leaf, output in enumerate(caller.leaves):
            if output.dim() != 2 or not (output.requires_grad and output.is_floating_point() and target.is_floating_point()):
                continue
            if target.numel() == len(output) < output.numel() and bool((target.reshape(-1) != target.reshape(-1)[0]).any()):
                labels = target.detach().reshape(-1, 1).expand_as(output).double()
                every = torch.ones_like(labels, dtype=torch.bool)
                yield Form(leaf, place, "values", labels, None, every, output.detach())


def _count(leaf: Tensor, targets: Sequence[Tensor]) -> int:
    """Of how many parts of the shape of a target an output is made."""
    if leaf.dim() < 2 or not leaf.is_floating_point() or not leaf.requires_grad:
        return 1
    for target in targets:
        times = leaf.numel() // max(1, target.numel())
        same = target.numel() * times == leaf.numel() and leaf.shape[-1] % max(1, times) == 0
        if target.is_floating_point() and same and 2 <= times <= _MOST and target.shape[:1] == leaf.shape[:1]:
            return times
    return 1


def _meets(caller: LossCaller, form: Form) -> bool:
    """Whether what the loss says of this output depends on these targets: a mean teacher's consistency term asks for no labels.

    True where it cannot be told.
    """
    target = caller.targets[form.target]
    if not target.dim() or len(target) < 2:
        return True
    order = torch.arange(len(target) - 1, -1, -1, device=target.device)
    if torch.equal(target[order], target):
        return True
    moved = (*caller.targets[: form.target], target[order], *caller.targets[form.target + 1 :])
    try:
        as_given, otherwise = (caller.gradient(caller.leaves, form.leaf, targets) for targets in (None, moved))
    except Unread:
        return False
    except Refused:
        return True
    return not torch.equal(as_given, otherwise)


def _is_still(caller: LossCaller, form: Form) -> bool:
    """Whether a loss that moves an answer away from the target leaves it alone at the target."""
    if form.axis is not None or form.name != "values":
        return False
    other = next(iter(form.mixed_up(torch.Generator().manual_seed(0))))
    try:
        at, away = (
            float(caller.gradient(caller.with_leaf(form.leaf, form.answer(labels)), form.leaf).abs().max())
            for labels in (form.labels, other)
        )
    except Refused:
        return False
    return at <= _STILL * away
