"""LOS006: BCELoss on values that nothing holds in [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.loss._ranges import value_range

if TYPE_CHECKING:
    from nnlint import Certainty, LossCalls, LossResponse, MeasuredLoss, Op

#: Share of the distance between right and wrong answers that counts as a difference.
#: No calibration: a score of probabilities is off by half of it, rounding by a millionth.
_CLEAR = 0.05


@rule("LOS006", "logits-into-bce", level="error", since="0.1")
def check(losses: LossCalls, response: LossResponse | None) -> Iterator[Finding]:
    """Binary cross-entropy, or an overlap score, on values that are not probabilities.

    ## What it does
    For every `binary_cross_entropy` (nn.BCELoss), reports predictions outside [0, 1], for which torch raises, and
    predictions that only happen to be inside: the output of a layer or a rectifier with no sigmoid, softmax or clamp. Of a loss that is
    a score of probabilities (dice, Tversky, intersection over union, whoever wrote it) reports outputs outside [0, 1] where the
    loss, called on three times the targets, is better than for the targets themselves; and the output of a layer of which a
    loss takes both `log(p)` and `log(1 - p)` without keeping it in range (a focal loss on probabilities).

    ## Why is this bad?
    BCELoss takes logarithms of p and 1 - p. Outside [0, 1] they do not exist, and torch raises in the middle of an epoch, as
    soon as the first value is out of range. An overlap of logits has no bound: it gets better the larger they are, right or wrong.

    ## Example
        loss = nn.BCELoss()(self.head(x), y)

    ## Use instead
        loss = nn.BCEWithLogitsLoss()(self.head(x), y)

    ## References
    - PyTorch: `torch.nn.BCELoss` expects probabilities, `torch.nn.BCEWithLogitsLoss` is numerically stabler than sigmoid
      and BCELoss
    """
    if response is not None and response.certainty is not None and _is_score(response.certainty):
        yield _of_score(response, response.certainty)
    yield from (_of_logarithms(losses, head) for head in _both_logarithms(losses))
    seen: set[int] = set()
    for call in losses.of("binary_cross_entropy"):
        if call.prediction is None:
            continue
        head = losses.graph.producer(call.prediction)
        outside, low, high = _outside(call)
        bounds = value_range(call.prediction)
        broken = call.prediction_value is not None and not bool(call.prediction_value.isfinite().all())
        if bounds.inside(0.0, 1.0) or head.index in seen or broken:  # what makes a NaN before the loss is SIG003's
            continue
        if not bounds.known and outside is None:
            raise Skip("static check: needs real values to see whether the predictions are in [0, 1]")
        if bounds.known or outside:
            seen.add(head.index)
            yield _finding(call, head, outside, low, high)


def _both_logarithms(losses: LossCalls) -> Iterator[Op]:
    """Outputs of linear maps of which the loss takes the logarithm, and that of one minus them, as they are."""
    graph = losses.graph
    logs = [op.activations[0] for op in graph.calls("log") if op.in_loss and op.activations]
    plain = {graph.producer(_past_number(op)) for op in logs if not op.is_kind("clamp")}
    opposite = {graph.producer(found) for op in logs if (found := _complement(_past_number(op))) is not None}
    recognized = {graph.producer(call.prediction) for call in losses.of("binary_cross_entropy") if call.prediction is not None}
    return (head for head in sorted(plain & opposite - recognized, key=lambda op: op.index) if head.is_kind("linear-map"))


def _past_number(op: Op) -> Op:
    """The op before a small number that is added."""
    return op.activations[0] if op.name == "add" and len(op.inputs) == 1 == len(op.activations) else op


def _complement(op: Op) -> Op | None:
    """X of `1 - x`."""
    ones = [value for value in op.leading if isinstance(value, (int, float)) and 0.99 <= value <= 1.01]
    return op.activations[0] if op.name in ("sub", "rsub") and ones and len(op.inputs) == 1 == len(op.activations) else None


def _of_logarithms(losses: LossCalls, head: Op) -> Finding:
    return Finding(
        at=head,
        message=f"{head.label}: the loss takes the logarithms of p and of 1 - p, but nothing keeps these values in [0, 1]: it is "
        f"{losses.value if losses.value is not None else 'not defined'}",
        evidence={"loss": str(losses.value)},
        fix="apply torch.sigmoid first (torch.softmax for classes that exclude each other), or use logsigmoid of the logits",
    )


def _of_score(response: LossResponse, found: Certainty) -> Finding:
    outputs = f"{found.outside:.0%} of the outputs are outside [0, 1]" if found.outside else "nothing keeps the outputs in [0, 1]"
    return Finding(
        at=response,
        message=f"the loss is a score of probabilities, but {outputs}: it is {found.at:.3g} where the outputs are the targets, and "
        f"{found.beyond:.3g} where they are three times as large",
        evidence={"share_outside": found.outside, "at_targets": found.at, "beyond": found.beyond},
        fix="apply the activation first: `torch.sigmoid(logits)`, with several classes `torch.softmax(logits, 1)`",
    )


def _is_score(found: Certainty) -> bool:
    """Whether the loss is lowest at the targets among all outputs in [0, 1], and still lower outside."""
    clear = _CLEAR * (found.wrong - found.at)
    unbounded = found.free or found.outside > 0
    return unbounded and abs(found.at) <= clear and found.wrong > 0 and found.beyond < found.at - clear


def _outside(call: MeasuredLoss) -> tuple[float | None, float, float]:
    """Share of predictions outside [0, 1], lowest and highest; None where there are no values."""
    values = call.prediction_value
    if values is None or values.numel() == 0:
        return None, 0.0, 0.0
    share = float(((values < 0) | (values > 1)).double().mean())
    return share, float(values.min()), float(values.max())


def _finding(call: MeasuredLoss, head: Op, outside: float | None, low: float, high: float) -> Finding:
    measured = ""
    if outside:
        measured = f": {outside:.0%} of the values are outside [0, 1] ({low:.3g} to {high:.3g}), for which it raises"
    elif outside is not None:
        measured = f": this batch lies in {low:.3g} to {high:.3g}, the first value outside [0, 1] makes it raise"
    return Finding(
        at=head,
        message=f"{head.label}: {call.label} expects probabilities, but nothing keeps these values in [0, 1]{measured}",
        evidence={"share_outside": outside, "lowest": low, "highest": high},
        fix="use binary_cross_entropy_with_logits (nn.BCEWithLogitsLoss) on the logits, or apply torch.sigmoid before BCELoss",
    )
