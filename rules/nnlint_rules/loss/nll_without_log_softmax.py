"""LOS003: NLL loss on values that are not log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint import Finding, Options, Skip, rule
from nnlint_rules.loss._heads import tail, thinned

if TYPE_CHECKING:
    from nnlint import LossCalls, MeasuredLoss, Op


class LogProbabilities(Options):
    """Tolerances; calibration: docs/evidence/calibration.md#log-probabilities."""

    tolerance: float = 0.05  # |logsumexp| of a row of log-probabilities; bfloat16 gives 0.02
    share: float = 0.5  # of rows beyond it before the rule speaks: padding rows may hold anything


@dataclass(frozen=True)
class _Rows:
    """How far the rows are from log-probabilities: median of |logsumexp|, share of rows beyond tolerance, largest value."""

    distance: float
    share: float
    highest: float


@rule("LOS003", "nll-without-log-softmax", level="error", since="0.1")
def check(losses: LossCalls, options: LogProbabilities) -> Iterator[Finding]:
    """NLL loss on values that are not log-probabilities.

    ## What it does
    For every `nll_loss`, looks whether the rows it was given are log-probabilities: their logsumexp is 0 and none is
    positive. Values that went through a log-softmax (masked, gathered) or that are normalized in another way (a CRF's
    partition function, log of a softmax) pass.

    ## Why is this bad?
    `nll_loss` only picks the value of the right class and negates it. Of raw logits it has no lower bound: the net makes
    all logits of the seen classes larger without end. Of probabilities it lies between -1 and 0 and its gradient does not
    grow when the net is confidently wrong.

    ## Example
        return self.head(x)  # then nn.NLLLoss()

    ## Use instead
        return F.log_softmax(self.head(x), dim=1)  # or logits with nn.CrossEntropyLoss()

    ## References
    - PyTorch: `torch.nn.NLLLoss` expects log-probabilities, obtained by a LogSoftmax in the last layer
    """
    for call in losses.of("nll_loss"):
        head = losses.graph.producer(call.prediction) if call.prediction is not None else None
        if head is None or head.is_kind("log-softmax"):
            continue
        rows = _measure(call, options)
        if rows is None:
            _skip_unless_clear(head)
        elif not _wrong(rows, head, options):
            continue
        yield _finding(call, head, rows, options)


def _measure(call: MeasuredLoss, options: LogProbabilities) -> _Rows | None:
    import torch

    values = call.prediction_value
    if values is None or values.numel() == 0:
        return None
    dim = call.class_dim
    sums = torch.logsumexp(thinned(values) if dim else values.double(), dim=dim).abs()
    distance = sums[sums.isfinite()]
    if distance.numel() == 0:
        raise Skip("the predictions are not finite")
    share = float((distance > options.tolerance).double().mean())
    return _Rows(float(distance.median()), share, float(values.max()))


def _wrong(rows: _Rows, head: Op, options: LogProbabilities) -> bool:
    if rows.share <= options.share:
        return False
    normalized_before = any(op.is_kind("log-softmax") or op.name == "logsumexp" for op in tail(head))
    return rows.highest > options.tolerance or not normalized_before


def _skip_unless_clear(head: Op) -> None:
    if not head.is_kind("linear-map", "activation", "softmax", "sigmoid", "norm"):
        raise Skip("static check: needs real values to see whether they are log-probabilities")


def _finding(call: MeasuredLoss, head: Op, rows: _Rows | None, options: LogProbabilities) -> Finding:
    measured = f" (median |logsumexp| of a row: {rows.distance:.3g}, limit {options.tolerance:g})" if rows else ""
    probabilities = head.is_kind("softmax", "sigmoid")
    what = "probabilities" if probabilities else "values that are not normalized"
    consequence = "lies between -1 and 0" if probabilities else "has no lower bound"
    return Finding(
        at=head,
        message=f"{call.label} expects log-probabilities but gets {what} from {head.label}{measured}: the loss {consequence}",
        evidence={
            "logsumexp_distance": rows.distance if rows else None,
            "share_of_rows": rows.share if rows else None,
            "highest": rows.highest if rows else None,
            "limit": options.tolerance,
        },
        fix="replace softmax by log_softmax, or give the logits to cross_entropy"
        if probabilities
        else "apply F.log_softmax(..., dim=1) before nll_loss, or use cross_entropy on the logits",
        modules=(call.module_path,),
    )
