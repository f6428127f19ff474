"""SIG003: NaN or Inf in the forward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules._shared.words import paths

if TYPE_CHECKING:
    from nnlint import EvalStats, Evidence, ForwardStats, NonFinite, NonFiniteEvaluation

_CAUSES = {
    "log": "the logarithm of zero or of a negative number: of a probability use log_softmax or logsigmoid of the logits; a scale "
    "or variance is positive as `F.softplus(x) + 1e-6`, or predict its logarithm (a clamp has no gradient below its bound)",
    "div": "a division by zero: add an eps to the divisor (not to the quotient)",
    "sqrt": "the root of a negative number: make it positive, as in `(F.softplus(x) + 1e-6).sqrt()` (a clamp has no gradient below its "
    "bound)",
    "rsqrt": "the root of zero or of a negative number: add an eps under the root",
    "reciprocal": "a division by zero: add an eps to the divisor",
    "exp": "the exponential overflows (float32 holds e^88, float16 e^11): subtract the maximum first, or use logsumexp or softmax",
    "pow": "a power of a negative or too large number: make the base positive (`F.softplus(x)`, `x.abs() + 1e-6`) and of a usual scale",
    "softmax": "every entry of a row is -inf (a mask that leaves nothing): leave one entry, or fill with a large negative number",
    "attention": "every key of a query is masked (key_padding_mask is True at padding, not at content: is it inverted?), or the scores "
    "outgrow the number format",
    "batch-norm": "a running variance below zero or beyond the number format: load the statistics again, or collect them anew",
    "cross_entropy": "every target is ignored, or a logit is infinite: check ignore_index and the scale of the logits",
}
_OVERFLOW = (
    "the values outgrow the number format: look at the scale of the weights and inputs before this op, or normalize"
)


@rule("SIG003", "non-finite-activation", level="error", since="0.1")
def check(forward: ForwardStats, evaluation: EvalStats | None) -> Iterator[Finding]:
    """NaN or Inf appears in the forward pass.

    ## What it does
    When anything measured in the training-mode forward (or the loss) is NaN or Inf, runs the same forward again and looks at
    every operation: the first one that made NaN or Inf out of finite inputs is named, with the range of those inputs. An
    attention mask filled with -inf is no fault. Where the NaN is replaced again before the loss, the finding is an info.
    Where only the outputs of evaluation mode hold NaN or Inf, it does the same there; a warning, if a few updates fix it.

    ## Why is this bad?
    One NaN makes the loss NaN and, after one step, every weight. Torch does not say where it began. In evaluation mode alone, every
    measure of the validation is NaN, and training, whose loss looks well, goes on.

    ## Example
        loss = -(targets * probabilities.log()).sum(1).mean()    # log(0)

    ## Use instead
        loss = -(targets * F.log_softmax(logits, dim=1)).sum(1).mean()

    ## References
    - PyTorch: Numerical accuracy; `torch.autograd.detect_anomaly`
    - IEEE 754: operations with NaN and Inf
    """
    reaches = not forward.outputs_finite or (forward.loss is not None and not math.isfinite(forward.loss))
    if forward.non_finite is not None:
        yield _in_training(forward, forward.non_finite, reaches=reaches)
    found = evaluation.non_finite if evaluation is not None and not reaches else None
    if found is not None:
        yield _in_evaluation(found)


def _in_training(forward: ForwardStats, found: NonFinite, *, reaches: bool) -> Finding:
    gone = "" if reaches else "; it is replaced again before the output, but its gradient may still be NaN"
    return Finding(
        at=found.op,
        level=None if reaches else Level.INFO,
        message=f"{found.op.label} is the first operation to produce {found.what}{_given(found)}{gone}",
        evidence={**_evidence(found), "loss": _number(forward.loss) if forward.loss is not None else None},
        fix=_fix(found),
        modules=paths(forward.graph.descendants(found.op)),
    )


def _in_evaluation(found: NonFiniteEvaluation) -> Finding:
    cause = found.cause
    gone = "; after a few updates it is gone" if found.gone_after_updates else ""
    return Finding(
        at=cause.op,
        level=Level.WARNING if found.gone_after_updates else None,
        message=f"{cause.op.label} is the first operation to produce {cause.what}{_given(cause)}, in evaluation mode only{gone}",
        evidence={
            **_evidence(cause),
            "mode": "evaluation",
            "after_updates": "finite" if found.gone_after_updates else "not finite",
        },
        fix=f"{_fix(cause)}; look at what only evaluation mode reads: running statistics, averages, buffers",
        modules=paths(found.graph.descendants(cause.op)),
    )


def _empty(found: NonFinite) -> tuple[int, ...] | None:
    """The shape of an operand without entries: a mean over nothing is NaN."""
    shapes = (source.shape for source in found.op.activations)
    return next((shape for shape in shapes if shape is not None and 0 in shape), None)


def _given(found: NonFinite) -> str:
    empty = _empty(found)
    if empty is not None:
        return f" from an empty tensor of shape {' x '.join(map(str, empty))}"
    ranges = ", ".join(_range_text(low, high) for _, low, high in found.input_ranges)
    return f" from inputs in {ranges}" if ranges else ""


def _evidence(found: NonFinite) -> dict[str, Evidence]:
    ranges: list[Evidence] = [[name, _number(low), _number(high)] for name, low, high in found.input_ranges]
    return {"op": found.op.name, "value": found.what, "input_ranges": ranges}


def _range_text(low: float, high: float) -> str:
    return f"[{low:.3g}, {high:.3g}]" if math.isfinite(low) else "no finite value"


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _fix(found: NonFinite) -> str:
    if _empty(found) is not None:
        return "nothing is left to average: give the batch at least one sample; where a mask may leave none, divide a sum by clamp(min=1)"
    if found.op.is_kind("linear-map", "matmul", "add", "mul", "sum"):
        return _OVERFLOW
    if found.op.name in _CAUSES:
        return _CAUSES[found.op.name]
    kind = next((kind for kind in _CAUSES if found.op.is_kind(kind)), None)
    return _CAUSES[kind] if kind is not None else _OVERFLOW
