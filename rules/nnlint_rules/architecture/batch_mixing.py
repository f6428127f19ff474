"""ARC008: in evaluation mode the output of one sample depends on another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.architecture._mixing import are_steps, legitimate_reason, time_major_layer

if TYPE_CHECKING:
    from nnlint import Declared, Mixing, Model, Op, SampleMixing

_LIMIT = 1e-5


@rule("ARC008", "batch-mixing", level="error", since="0.1")
def check(mixing: Mixing, model: Model, declared: Declared) -> Iterator[Finding]:
    """The output of one sample depends on the other samples of the batch.

    ## What it does
    Replaces one sample of the batch and compares the evaluation-mode outputs of the others, along whichever axis shrinks with the
    batch (CTC models give time first), and differentiates a random projection of one sample's output with respect to the others'
    inputs. Batch norms are in evaluation mode by then and do not mix. A change above 1e-5 of the largest output, or of what changes in
    the replaced sample's own output (docs/evidence/calibration.md#independence), is an error; where the model has a reason for it
    (experts with a shared capacity, a declared set, a norm that always uses batch statistics) it is a warning with that
    reason. Batch x batch logits, as contrastive losses want them, are an info, and so is a model in which nothing tells the
    axis of the samples from that of time. Outputs that have a row for each target but no row less for a sample less (a mean over
    the samples where there are as many steps) are compared as a whole. Rows that are the steps of sequences, whose states are
    another input, are left alone, and so is one number taken from all values before a softmax (`z - z.max()`), which removes it.
    `declared={"batch-mixing"}` silences the rule.

    ## Why is this bad?
    The prediction for one input changes with whatever else happens to be in its batch: validation differs from training,
    and a batch of one from both. The usual causes are a `view` that swaps batch and another axis, a reduction or a softmax
    over axis 0, and attention or recurrence along it. Nothing raises, and the training loss may well fall.

    ## Example
        x = x - x.mean()                        # the mean over the batch as well
        x = x.view(-1, channels, batch)         # meant: x.permute(2, 1, 0)

    ## Use instead
        x = x - x.mean(dim=(1, 2, 3), keepdim=True)
        x = x.permute(2, 1, 0)

    ## References
    - Karpathy: A Recipe for Training Neural Networks, 2019 ("use backprop to chart dependencies")
    """
    if "batch-mixing" in declared.traits:
        return
    found = mixing.samples
    if found is None or time_major_layer(found, model) is not None or are_steps(found):
        return
    reason = legitimate_reason(found, declared.traits)
    place = found.op.label if found.op is not None else "the model"
    yield Finding(
        at=found.op,
        level=_level(found, reason),
        message=f"samples of the batch depend on each other from {place} on: {_measured(found)}"
        + (f"; {reason}" if reason else "")
        + ("" if found.settled else "; if the second axis holds the samples, declare 'time-major'"),
        evidence={
            "influence": found.influence,
            "limit": _LIMIT,
            "gradient": found.gradient,
            "reason": reason or None,
            "shape": list(found.op.shape) if found.op is not None and found.op.shape is not None else None,
        },
        fix=_fix(found, reason),
        confidence="high" if found.settled and not reason else "medium" if found.settled else "low",
    )


def _level(found: SampleMixing, reason: str) -> Level | None:
    if not found.settled or found.pairwise:
        return Level.INFO
    return Level.WARNING if reason or found.op is None else None  # an error names its place


def _measured(found: SampleMixing) -> str:
    if found.influence > _LIMIT:
        whole = "what it changes in its own" if found.of_own else "the largest output"
        return (
            f"replacing one of {found.samples} samples changes the others' outputs by {found.influence:.2g} of {whole} (limit {_LIMIT:g})"
        )
    return (
        f"the gradient of one sample's output with respect to the other samples is {found.gradient or 0.0:.2g} of that "
        f"with respect to its own input (limit {_LIMIT:g})"
    )


def _fix(found: SampleMixing, reason: str) -> str:
    if reason:
        return 'if this is intended, declare it: `declared={"batch-mixing"}` in the training setup'
    view = _reshape_before(found.op)
    if view is not None:
        return (
            f"look at {view.label}: where axes change places use permute or transpose; view and reshape keep the order of "
            "the numbers in memory and hand parts of one sample to another"
        )
    return "make this operation work on each sample alone: no reduction, softmax, recurrence or product along the axis of the samples"


def _reshape_before(op: Op | None) -> Op | None:
    """A reshape that the mixing operation, or one before it in the chain of shapes, is or reads."""
    while op is not None:
        if op.name in ("view", "reshape"):
            return op
        op = next((source for source in op.activations[:1] if source.is_kind("view", "identity", "cast")), None)
    return None
