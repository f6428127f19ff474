"""What a loss is, read from its answers: reduction, shift invariance, coupling of samples, domain, kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nnlint.probes.loss_response.answers import LESS_SURE, Form
from nnlint.probes.loss_response.caller import LossCaller, Refused
from nnlint.probes.loss_response.halves import halves
from nnlint.probes.loss_response.stats import LossResponse
from nnlint.probes.loss_response.weights import class_weights

#: Relative difference below which two values of the loss are the same: single precision, summed over a batch.
_SAME = 1e-4


def nature(made: LossResponse, caller: LossCaller, found: Sequence[Form], first: float, *, brief: bool) -> LossResponse:
    """`made` with all that does not need right answers."""
    half = halves(caller, made.samples)
    leaf = found[0].leaf if found else _main_leaf(caller)
    made = replace(made, half=half, whole=first, reduction=_reduction(caller, first, half))
    if leaf is None or brief:
        return made
    invariant = _shift_invariant(caller, found[0]) if found else None
    made = replace(made, shift_invariant=invariant, couples_samples=_couples(caller, leaf, made.samples))
    takes = "logits" if invariant else _takes(caller, found)
    # Probabilities given to a loss that takes logits are not even for it where they are one half.
    even = bool(found) and (found[0].axis is not None or found[0].name in (takes, "logits"))
    weights = class_weights(caller, found[0]) if even and made.prefers_right else ()
    return replace(made, weights=weights, takes=takes, kind=_kind(made, caller, found, leaf, first))


def _main_leaf(caller: LossCaller) -> int | None:
    """The last floating tensor: what a loss without targets in its form is most likely about."""
    places = [place for place, leaf in enumerate(caller.leaves) if leaf.is_floating_point() and leaf.numel() > 1]
    return places[-1] if places else None


def _reduction(caller: LossCaller, first: float, half: float | None) -> str:
    try:
        with torch.no_grad():
            if caller.tensor(caller.leaves).numel() > 1:
                return "none"
    except Refused:
        return "unknown"
    if half is None or abs(half) < 1e-9:
        return "unknown"
    # Odd batches lose a sample, weighted means weigh the halves differently: a factor of two tells them apart still.
    if abs(first - half) <= 0.1 * abs(half):
        return "sum"
    return "mean" if abs(first - half / 2) <= 0.1 * abs(half) else "unknown"


def _shift_invariant(caller: LossCaller, form: Form) -> bool | None:
    """Whether all scores of a decision may be raised alike."""
    if form.axis is None:
        return None
    output = caller.leaves[form.leaf]
    try:
        values = [caller.value(caller.with_leaf(form.leaf, output + by)) for by in (0.0, 1.5, -3.0)]
    except Refused:
        return False
    return all(abs(value - values[0]) <= _SAME * max(1.0, abs(values[0])) for value in values)


def _couples(caller: LossCaller, leaf: int, samples: int) -> bool | None:
    """Whether the gradient at the last sample changes, but for its scale, when the first sample's output does."""
    output = caller.leaves[leaf]
    if samples < 3 or not output.dim() or output.shape[0] != samples:
        return None
    changed = output.clone()
    changed[0] = output[1] + 1.0
    try:
        one = caller.gradient(caller.leaves, leaf)[2:]
        other = caller.gradient(caller.with_leaf(leaf, changed), leaf)[2:]
    except Refused:
        return None
    scale = float(one.abs().max())
    return bool(float((one - other).abs().max()) > 1e-3 * scale) if scale > 0 else None


def _takes(caller: LossCaller, found: Sequence[Form]) -> str:
    """Which numbers the loss takes an output for; "unknown" where its values do not tell."""
    if not found:
        return "unknown"
    form = found[0]
    if form.axis is not None:
        return _takes_rows(caller, form)
    if not set(form.labels.unique().tolist()) <= {0.0, 1.0}:
        return "values" if form.name == "values" and _tried(caller, form, form.labels) is not None else "unknown"
    plain, wrong = _tried(caller, form, form.labels), _tried(caller, form, 1 - form.labels)
    sure = _tried(caller, form, 2 * LESS_SURE * form.labels - LESS_SURE)
    if plain is None or wrong is None or plain >= wrong:
        return "unknown"  # of a loss that rewards wrong answers no form is the right one
    if plain < 0.1 * wrong:
        return "probabilities" if form.name == "probabilities" or sure is None else "values"
    return "logits" if sure is not None and sure < 0.2 * plain else "unknown"


def _takes_rows(caller: LossCaller, form: Form) -> str:
    """Of a loss that is not invariant to a shift: probabilities where certain ones leave nothing, logarithms where it is linear."""
    base, twice = (_tried(caller, form, factor * form.like) for factor in (1.0, 2.0))
    if base is not None and twice is not None and abs(twice - 2 * base) <= _SAME * abs(base):
        return "log-probabilities"
    sure = replace(form, name="probabilities")
    right, wrong = _tried(caller, sure, sure.answer(form.labels)), _tried(caller, form, form.like)
    return "probabilities" if right is not None and wrong is not None and right < 0.1 * wrong else "unknown"


def _tried(caller: LossCaller, form: Form, answer: Tensor) -> float | None:
    try:
        return caller.value(caller.with_leaf(form.leaf, answer))
    except Refused:
        return None


def _kind(made: LossResponse, caller: LossCaller, found: Sequence[Form], leaf: int, first: float) -> str:
    if found and found[0].axis is not None and made.prefers_right is not None:
        return "cross-entropy"
    if _is_linear(caller, leaf, first):
        return "linear"
    if found and made.prefers_right is not None:
        binary = len(found[0].labels.unique()) == 2
        return "binary" if binary else "regression"
    return "contrastive" if made.couples_samples else "unknown"


def _is_linear(caller: LossCaller, leaf: int, first: float) -> bool:
    """Whether the loss of twice and of three times the output lies on one straight line: scores that are only averaged."""
    output = caller.leaves[leaf]
    try:
        twice, thrice = (caller.value(caller.with_leaf(leaf, factor * output)) for factor in (2.0, 3.0))
    except Refused:
        return False
    step = twice - first
    return abs(thrice - twice - step) <= _SAME * max(abs(step), abs(thrice)) and abs(step) > _SAME * abs(first)
