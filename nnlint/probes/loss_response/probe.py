"""Measures `LossResponse`: calls the loss on right and wrong answers and reads from its values what it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnlint.probes.loss_response.answers import Form, forms, shares
from nnlint.probes.loss_response.caller import LossCaller, Refused
from nnlint.probes.loss_response.certain import certainty, deaf, unheard
from nnlint.probes.loss_response.fall import fall
from nnlint.probes.loss_response.nature import nature
from nnlint.probes.loss_response.parts import compared, parts
from nnlint.probes.loss_response.stats import FlippedTerm, LossResponse, Preference
from nnlint.probes.loss_response.terms import numbers, suspects, uneven

if TYPE_CHECKING:
    from nnlint.capture.op import Op

#: Single decisions that are turned wrong one by one: all of them have to agree.
_SINGLES = 8
#: Entries of a sample above which it is turned wrong as a whole.
_ENTRIES = 64
#: Target values that are looked at one by one.
_VALUES = 4
#: Differences of the loss below this share of its size are rounding.
_ROUNDING = 1e-4
#: Share of the distance between right and wrong answers that counts as no difference.
_EQUAL = 0.05
#: Share of the loss by which wrong answers have to lower it.
_CLEAR = 0.01
#: More outputs than this are not moved one by one.
_OUTPUTS = 16
#: How much larger than right and wrong answers an unbounded answer is tried.
_LARGE = 10.0


def measure_response(
    caller: LossCaller, samples: int, op: Op | None, *, bounded: frozenset[int], brief: bool, scored: bool = False
) -> LossResponse:
    """Call the loss on chosen outputs; the caller of this function holds the state guard.

    Args:
        caller: the loss.
        samples: how many samples the batch has.
        op: the op that makes the loss.
        bounded: which of the output's tensors are held in [0, 1].
        brief: the loss runs a network of its own, so that it is called as seldom as a verdict allows.
        scored: that network makes the scores of the classes, so that no entry of the output stands for a class.
    """
    empty = LossResponse(samples=samples, op=op)
    try:
        first = caller.value(caller.leaves)
        if caller.value(caller.leaves) != first:
            return replace(empty, why_unknown="the loss of the same output differs from call to call")
    except Refused as refused:
        return replace(empty, why_unknown=f"the loss cannot be called again: {refused}")
    found = [form for form in forms(caller.leaves, caller.targets, bounded) if form.axis is None or not scored]
    whole = caller
    if not brief:
        caller, found = (caller, compared(caller, found)) if found else parts(caller)
    preferences: list[Preference] = []
    flipped: list[FlippedTerm] = []
    for form in found:
        told = _preferences(caller, form, first, brief=brief)
        preferences += told
        if not brief and any(one.about is None and one.prefers_right is not False for one in told):
            flipped += _flipped(caller, form)
    why = "" if preferences else _why(caller, found)
    lowest = None if brief or len(whole.leaves) > _OUTPUTS else fall(whole, sorted(whole.free), samples)
    leaves = {form.leaf for form in found} if caller.leaves is whole.leaves else set[int]()
    made = replace(empty, preferences=tuple(preferences), why_unknown=why, fall=lowest, flipped=tuple(flipped))
    if not brief:
        certain = next((one for form in found if (one := certainty(caller, form)) is not None), None)
        made = replace(made, certainty=certain, unheard=unheard(whole, samples), numbers=numbers(whole), deaf=deaf(whole))
        made = replace(made, uneven=uneven(whole, samples))
        made = replace(made, leaf=leaves.pop() if len(leaves) == 1 else None, shares=shares(found[0]) if found else None)
    return nature(made, caller, found, first, brief=brief)


def _preferences(caller: LossCaller, form: Form | None, first: float, *, brief: bool) -> list[Preference]:
    """What the loss says of answers of this form, or of the same less sure; empty where it refuses both."""
    found: list[Preference] = []
    while form is not None:
        with suppress(Refused):
            found = list(_Trial(caller, form, first, brief=brief).preferences()) or found
        # At a target itself the logarithm of an error is what its guard against 0 makes of it: near by, it is a loss.
        told = any(one.prefers_right is not None for one in found)
        form = form.gentler() if not found or (form.name == "values" and not told) else None
    return found


def _flipped(caller: LossCaller, form: Form) -> Iterator[FlippedTerm]:
    """The terms of the loss that reward wrong answers of this form."""
    for term in suspects(caller, form):
        for found in _preferences(term.caller, form, term.first, brief=False):
            if found.about is None and found.prefers_right is False:
                yield FlippedTerm(term.summand.op, found)
                break


def _why(caller: LossCaller, found: Sequence[Form]) -> str:
    if not caller.targets:
        return "the loss takes no targets"
    return "the loss refuses right answers" if found else "the targets have no form of the output"


@dataclass(frozen=True, eq=False)
class _Trial:
    """Right and wrong answers of one form."""

    caller: LossCaller
    form: Form
    first: float
    brief: bool

    def preferences(self) -> Iterator[Preference]:
        """Over all targets, and for each of their values where that is told apart.

        Raises:
            Refused: the loss does not take these answers.
        """
        overall = self._judged(self.form.valid, None)
        if not self._sees_matches():
            # Prediction and target are laid against each other crosswise: no answer is right for one sample alone.
            yield replace(overall, prefers_right=None)
            return
        yield overall
        if self.brief or overall.prefers_right is False:
            return
        for value in self._values():
            yield self._judged(self.form.valid & (self.form.labels == value), float(value))

    def _sees_matches(self) -> bool:
        """Whether the loss changes when the model's own answers are given to other samples."""
        like, axis = self.form.like, self.form.axis
        rows = like.reshape(-1, 1) if axis is None else like.movedim(axis, -1).reshape(-1, like.shape[axis])
        moved = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).to(rows.device)]
        if torch.allclose(moved, rows) or not bool(self.form.valid.all()):
            return True
        if axis is not None:
            moved = moved.reshape(like.movedim(axis, -1).shape).movedim(-1, axis)
        return abs(self._loss(moved) - self.first) > 1e-6 * max(abs(self.first), 1e-6)

    def _values(self) -> list[Tensor]:
        """The commonest target values, where there are few."""
        distinct, counts = self.form.labels[self.form.valid].unique(return_counts=True)
        if len(distinct) > (64 if self.form.axis is not None else 2):
            return []
        return [distinct[int(place)] for place in counts.argsort(descending=True)[:_VALUES]]

    def _judged(self, chosen: Tensor, about: float | None) -> Preference:
        """Turn the answers of the chosen decisions wrong and see what the loss says.

        Raises:
            Refused: the loss does not take these answers.
        """
        generator = torch.Generator().manual_seed(0)
        form, labels = self.form, self.form.labels
        right = self._loss(form.answer(labels))
        assignments = [torch.where(chosen, other, labels) for other in form.mixed_up(generator)]
        wrong = [self._loss(form.answer(other)) for other in assignments]
        least = _ROUNDING * max(abs(right), *map(abs, wrong), 1e-6)
        # A loss that is blind to the sign (of a signal, of a direction) takes the mirror image for right.
        alike = max(least, _EQUAL * max(abs(value - right) for value in wrong))
        seen = [place for place, value in enumerate(wrong) if abs(value - right) > alike] or list(range(len(wrong)))
        assignments, wrong = [assignments[place] for place in seen], [wrong[place] for place in seen]
        verdict: bool | None = None
        if right < min(wrong) - least:
            verdict = True
        elif right > max(wrong) + _CLEAR * max(abs(right), *map(abs, wrong), abs(self.first)):
            verdict = False if self._is_worst(right, assignments, chosen, least) else None
        if verdict is False and self._is_signed():
            verdict = None
        share = float(chosen.double().mean() / form.valid.double().mean())
        return Preference(form.name, right, min(wrong), verdict, about, share)

    def _is_signed(self) -> bool:
        """Whether another tensor of the targets (advantages, returns) gives samples their sign: then right is what it says."""
        for place, other in enumerate(self.caller.targets):
            if place == self.form.target or not other.is_floating_point() or not bool((other < 0).any()):
                continue
            targets = (*self.caller.targets[:place], -other, *self.caller.targets[place + 1 :])
            if self.caller.value(self.caller.leaves, targets) != self.first:
                return True
        return False

    def _is_worst(self, right: float, wrong: Sequence[Tensor], chosen: Tensor, least: float) -> bool:
        """Whether right answers have the highest loss of all answers tried, and each single one has.

        A distance that is small where the label says "same", a score that is low where the label says "event": they reward
        the opposite of the label as well, but the larger an answer is, the worse it is for them.
        """
        form = self.form
        certain = form.answer(form.labels)
        selected = chosen if form.axis is None else chosen.unsqueeze(form.axis)
        others = [torch.where(selected, form.like.to(certain.dtype), certain)]
        if form.unbounded:
            others.append(torch.where(selected, _LARGE * certain, certain))
            others.append(torch.where(selected, -_LARGE * certain, certain))
        if form.name == "values":
            far = _LARGE * (certain.max() - certain.min())
            others += [torch.where(selected, certain + shift, certain) for shift in (far, -far)]
        limit = right + max(least, _EQUAL * (right - self._loss(form.answer(wrong[0]))))
        if any((self._tried(other) or right) > limit for other in others):
            return False
        return self.brief or all(value < right for value in self._single(wrong, chosen))

    def _single(self, assignments: Sequence[Tensor], chosen: Tensor) -> Iterator[float]:
        """The loss with one decision wrong, for a few decisions; they are those that the wrong labels change.

        Of values with many entries a sample (signals, images) a whole sample: one pixel is lost in the rounding of the others.
        """
        labels = self.form.labels
        whole = self.form.name == "values" and labels.numel() > _ENTRIES * len(labels)
        wrong = assignments[-1 if whole else 0]
        rows = (labels.shape[0], -1) if whole else (-1, 1)
        right, other = labels.reshape(rows), wrong.reshape(rows)
        places = ((other != right) & chosen.reshape(rows)).any(1).nonzero().reshape(-1)
        for place in places[:: max(1, len(places) // _SINGLES)][:_SINGLES]:
            single = right.clone()
            single[place] = other[place]
            yield self._loss(self.form.answer(single.reshape(labels.shape)))

    def _tried(self, answer: Tensor) -> float | None:
        try:
            return self._loss(answer)
        except Refused:
            return None

    def _loss(self, answer: Tensor) -> float:
        return self.caller.value(self.caller.with_leaf(self.form.leaf, answer))
