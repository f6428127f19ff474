"""ARC032: padding changes the outputs at valid positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, Skip, rule
from nnlint_rules.architecture._padding_words import reason_and_fix

if TYPE_CHECKING:
    from nnlint import Declared, ForwardStats, Graph, Mixing, PaddingRead, PaddingStats


class PaddingLimits(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#padding."""

    influence: float = Field(0.002, description="change of the outputs, relative to what tells samples apart")


@rule("ARC032", "padding-read", level="warning", since="0.1")
def check(
    padding: PaddingStats,
    graph: Graph,
    forward: ForwardStats | None,
    mixing: Mixing | None,
    declared: Declared,
    options: PaddingLimits,
) -> Iterator[Finding]:
    """Outputs at valid positions, or the vector made of a sequence, depend on the padding.

    ## What it does
    Finds the padding of the batch: by a mask or lengths among the inputs, by the padding id of an embedding or a
    configuration, or by ends of one constant whose lengths differ. Takes the samples with the most padding, cuts the padding off
    and compares the evaluation-mode outputs at valid positions. Where they change, it fills the padding with valid content, masks
    unchanged, and names the first operation that lets it through. A change above 0.002 of what tells samples apart is reported.
    What a convolution reads over the border of the content, and a maximum over the outputs of convolutions, are an info. An inverted
    mask that leaves samples without padding no key, so that they become NaN, is an error, and so is a mask that is given and has no
    influence on anything.
    `declared={"padding-read"}` silences the rule, `declared={"norm-over-time"}` that about norms. Without padding in the
    batch it is skipped.

    ## Why is this bad?
    How long a sample's neighbours in the batch are changes what the model says about it: training, validation and a batch of one
    disagree, and capacity goes into learning to overlook padding. The usual causes are attention without a padding mask, or with
    one along the wrong axis, the last state of a recurrent layer taken after the padding, and a mean over all positions.

    ## Example
        out, _ = self.lstm(self.embed(tokens))
        return self.head(out[:, -1])                            # after the padding

    ## Use instead
        packed = pack_padded_sequence(self.embed(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (state, _) = self.lstm(packed)
        return self.head(state[-1])

    ## References
    - PyTorch: `torch.nn.utils.rnn.pack_padded_sequence`, `torch.nn.MultiheadAttention` (key_padding_mask)
    - https://github.com/huggingface/transformers/issues/26072
    """
    if "padding-read" in declared.traits:
        return
    seen: set[str] = set()
    for found in padding.read:
        if found.cause.op.label in seen:
            continue  # another padded input that reaches the outputs by the same way
        if found.cause.kind == "flattened" or (found.cause.kind == "norm" and "norm-over-time" in declared.traits):
            continue
        influence = found.trimmed if found.trimmed is not None else found.refilled
        if influence is not None and influence > options.influence:
            seen.add(found.cause.op.label)
            level = _level(found, graph, forward, mixing)
            yield _finding(found, influence, level, options)


def _level(found: PaddingRead, graph: Graph, forward: ForwardStats | None, mixing: Mixing | None) -> Level | None:
    if found.cause.mask == "inverted" and forward is not None and forward.non_finite is not None:
        return Level.ERROR  # samples without padding have no key left: NaN
    if _is_border(found, graph):
        return Level.INFO
    return Level.ERROR if mixing is not None and found.given_mask in _ignored_masks(mixing) else None


def _ignored_masks(mixing: Mixing) -> frozenset[str]:
    """Masks among the inputs that change nothing: what ARC011 would report, were the padding not read for it."""
    try:
        inputs = mixing.inputs
    except Skip:
        return frozenset()
    return frozenset(
        found.name for found in inputs if found.is_mask and not (found.matters or found.constant or found.unknown)
    )


def _finding(found: PaddingRead, influence: float, level: Level | None, options: PaddingLimits) -> Finding:
    cause = found.cause
    what = "cutting the padding off" if found.trimmed is not None else "other content in the padding"
    reason, fix = reason_and_fix(found)
    return Finding(
        at=cause.op,
        level=level,
        message=f"{reason}: {what} changes the outputs at valid positions by {_factor(influence)} what tells samples apart "
        f"(limit {options.influence:g}x); {found.name} is {found.share:.0%} padding, told by {found.known_by}",
        evidence={
            "influence": influence,
            "limit": options.influence,
            "cause": cause.kind,
            "mask": cause.mask,
            "input": found.name,
            "padding": found.share,
            "known_by": found.known_by,
        },
        fix=fix,
        confidence="high" if found.trimmed is not None else "medium",
    )


def _factor(influence: float) -> str:
    return f"{influence:.2g}x" if influence < 100 else "over 100x"


def _is_border(found: PaddingRead, graph: Graph) -> bool:
    """What hurts little: borders of convolutions, maxima over their outputs, and a state that starts in the padding."""
    kind = found.cause.kind
    if kind == "max-pooling":
        return any(op.is_kind("conv") for op in graph.chain_back(found.cause.op)) or any(
            op.is_kind("conv") for op in graph.ops
        )
    return kind == "window" or (found.at_start and kind in ("recurrent", "steps", "last-state"))
