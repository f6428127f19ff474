"""LOS033: what CTC requires of blank, targets and lengths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import LossCalls, MeasuredLoss


@dataclass(frozen=True)
class _Sequences:
    """The target of each sample, and how many steps it has to be laid along."""

    targets: tuple[Any, ...]
    steps: tuple[int, ...]
    available: int
    classes: int


@rule("LOS033", "ctc-preconditions", level="error", since="0.1")
def check(losses: LossCalls) -> Iterator[Finding]:
    """CTC whose blank, targets or lengths do not go together.

    ## What it does
    Looks at what `ctc_loss` is given: log-probabilities (rows that sum to one), a blank that no target contains, class numbers
    below the number of classes, and for every sample enough steps for its target: one for each label, and one more between two
    equal labels in a row.

    ## Why is this bad?
    A target with the blank in it cannot be decoded: the blank is removed. A target longer than its input has probability 0, so
    that its loss is infinite; `zero_infinity=True` sets it and its gradient to 0, and the sample is silently left out.

    ## Example
        ctc = nn.CTCLoss(blank=0)  # and letters encoded from 0
        loss = ctc(log_probs, targets, input_lengths, target_lengths)

    ## Use instead
        loss = ctc(log_probs, targets + 1, input_lengths, target_lengths)  # one class more in the last layer

    ## References
    - A. Graves et al., Connectionist Temporal Classification, 2006
    - PyTorch: `torch.nn.CTCLoss`: target index cannot be blank
    """
    losses.require_targets()
    for call in losses.of("ctc_loss"):
        sequences = _sequences(call)
        if sequences is None:
            continue
        found = _unnormalized(call) or _blank(call, sequences) or _out_of_range(call, sequences)
        yield from (made for made in (found, _too_long(call, sequences)) if made is not None)


def _sequences(call: MeasuredLoss) -> _Sequences | None:
    """The targets of the single samples, padded rows or one after the other; None where the arguments have no values."""
    scores, targets = call.prediction_value, call.target_value
    lengths, steps = call.others.get("target_lengths"), call.others.get("input_lengths")
    if scores is None or targets is None or lengths is None or steps is None or scores.dim() not in (2, 3):
        return None
    counts = [int(count) for count in lengths.reshape(-1)]
    if targets.dim() == 1 and len(counts) > 1:
        ends = [sum(counts[: place + 1]) for place in range(len(counts))]
        rows = [targets[end - count : end] for end, count in zip(ends, counts, strict=True)]
    else:
        padded = targets.reshape(len(counts), -1) if counts and targets.numel() % len(counts) == 0 else targets
        rows = [row[:count] for row, count in zip(padded, counts, strict=False)]
    return _Sequences(tuple(rows), tuple(int(step) for step in steps.reshape(-1)), scores.shape[0], scores.shape[-1])


def _unnormalized(call: MeasuredLoss) -> Finding | None:
    scores = call.prediction_value
    departure = float(scores.double().logsumexp(-1).abs().max()) if scores is not None else 0.0
    if not departure > 1e-2:
        return None
    return Finding(
        at=call,
        message=f"{call.label} expects log-probabilities, and these sum to e^{departure:.3g} instead of 1",
        evidence={"logsumexp": departure, "limit": 1e-2},
        fix="apply `log_softmax(dim=-1)` to the logits before the loss",
    )


def _blank(call: MeasuredLoss, sequences: _Sequences) -> Finding | None:
    blank = int(call.argument("blank", 0) or 0)
    holding = [row for row in sequences.targets if bool((row == blank).any())]
    if not holding:
        return None
    share = len(holding) / len(sequences.targets)
    return Finding(
        at=call,
        message=f"{share:.0%} of the targets of {call.label} contain the blank (class {blank}), which decoding removes",
        evidence={"share": share, "blank": blank},
        fix=f"keep class {blank} for the blank: add 1 to every label and one unit to the last layer, or set `blank` to a class "
        "that is no label",
    )


def _out_of_range(call: MeasuredLoss, sequences: _Sequences) -> Finding | None:
    highest = max((int(row.max()) for row in sequences.targets if row.numel()), default=0)
    if highest < sequences.classes:
        return None
    return Finding(
        at=call,
        message=f"{call.label} is given the label {highest}, and the last layer has {sequences.classes} classes, blank included",
        evidence={"label": highest, "classes": sequences.classes},
        fix=f"give the last layer {highest + 1} units: the alphabet and the blank",
    )


def _too_long(call: MeasuredLoss, sequences: _Sequences) -> Finding | None:
    """Samples whose target does not fit into their steps, and steps that the scores do not have."""
    needed = [len(row) + int((row[1:] == row[:-1]).sum()) for row in sequences.targets]
    missing = [need for need, steps in zip(needed, sequences.steps, strict=False) if need > steps]
    beyond = [steps for steps in sequences.steps if steps > sequences.available]
    if not missing and not beyond:
        return None
    if beyond:
        message = f"{call.label} is given input lengths up to {max(beyond)}, and its scores have {sequences.available} steps"
        fix = "give the lengths after the strides of the net: `input_lengths = frames // total_stride`, scores as (time, batch, class)"
    else:
        share = len(missing) / len(needed)
        hidden = ", and zero_infinity=True leaves them out silently" if call.argument("zero_infinity") else ""
        message = (
            f"{share:.0%} of the targets of {call.label} need more steps than their input has (up to {max(missing)}, "
            f"the longest input has {max(sequences.steps)}): their loss is infinite{hidden}"
        )
        fix = "reduce the stride in time, or leave out samples with fewer steps than labels plus repeated labels"
    return Finding(
        at=call,
        message=message,
        evidence={"steps_needed": max(needed), "steps": max(sequences.steps), "available": sequences.available, "samples": len(missing)},
        fix=fix,
    )
