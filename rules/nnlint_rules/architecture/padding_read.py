"""ARC032: padding changes the outputs at valid positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule

if TYPE_CHECKING:
    from nnlint import Declared, Graph, PaddingRead, PaddingStats


class PaddingLimits(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#padding."""

    influence: float = Field(0.002, description="change of the outputs, relative to what tells samples apart")


#: What each kind of cause is in a message, with `{op}`, and the fix that goes with it.
_WORDS = {
    "recurrent": (
        "{op} runs over the padding",
        (
            "pack the sequences: nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False), "
            "and pad_packed_sequence after it"
        ),
    ),
    "last-state": (
        "the last state is taken after the padding ({op})",
        (
            "take the state of the last valid position: out[torch.arange(len(out)), lengths - 1], or pack the sequences with "
            "pack_padded_sequence and use h_n"
        ),
    ),
    "last-position": (
        "{op} picks a position that is padding in some samples",
        "take the last valid position: out[torch.arange(len(out)), lengths - 1]",
    ),
    "steps": (
        "the loop over time goes on through the padding ({op})",
        "keep the state where the sequence is over: h = torch.where((t < lengths)[:, None], new, h)",
    ),
    "pooling": (
        "{op} pools over the padding as well",
        "pool over valid positions: (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)",
    ),
    "max-pooling": (
        "{op} takes the maximum over the padding as well",
        'fill the padding before the maximum: x.masked_fill(~mask[..., None], float("-inf"))',
    ),
    "norm": (
        "{op} takes its statistics over the padding as well",
        (
            "normalize over features (nn.LayerNorm), or use statistics of valid positions; declare it if it is meant: "
            'declared={{"norm-over-time"}}'
        ),
    ),
    "window": (
        "{op} reads the padding next to the content, within its receptive field",
        "set the padding to zero after each convolution (x * mask) if outputs must not depend on it",
    ),
    "other": (
        "{op} lets the padding through",
        "mask the padding before values of several positions are combined",
    ),
}
_MASKS = {
    "none": "no mask reaches it",
    "nothing": "its mask blocks nothing",
    "causal": "its mask only blocks later positions",
    "queries": "its mask is along the queries, so that padded keys stay open",
    "inverted": "its mask is inverted: it blocks the content and leaves the padding open",
    "other": "its mask leaves padded keys open",
}
_MASK_FIXES = {
    "queries": "broadcast the mask along the keys, the last axis of the scores: scores.masked_fill(~mask[:, None, None, :], "
    'float("-inf"))',
    "inverted": "invert the mask (~mask): key_padding_mask is True at padding, attn_mask of scaled_dot_product_attention True "
    "at content",
}


@rule("ARC032", "padding-read", level="warning", since="0.1")
def check(padding: PaddingStats, graph: Graph, declared: Declared, options: PaddingLimits) -> Iterator[Finding]:
    """Outputs at valid positions, or the vector made of a sequence, depend on the padding.

    ## What it does
    Finds the padding of the batch: by a mask or lengths among the inputs, by the padding id of an embedding or a
    configuration, or by ends of one constant whose lengths differ. Takes the samples with the most padding, cuts the padding off
    and compares the evaluation-mode outputs at valid positions. Where they change, it fills the padding with valid content, masks
    unchanged, and names the first operation that lets it through. A change above 0.002 of what tells samples apart is reported.
    What a convolution reads over the border of the content, and a maximum over the outputs of convolutions, are an info.
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
            yield _finding(found, influence, graph, options)


def _finding(found: PaddingRead, influence: float, graph: Graph, options: PaddingLimits) -> Finding:
    cause = found.cause
    what = "cutting the padding off" if found.trimmed is not None else "other content in the padding"
    reason, fix = _reason(found)
    return Finding(
        at=cause.op,
        level=Level.INFO if _is_border(found, graph) else None,
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


def _reason(found: PaddingRead) -> tuple[str, str]:
    label = found.cause.op.label
    if found.cause.kind != "attention":
        words, fix = _WORDS[found.cause.kind]
        if found.cause.kind == "last-state" and found.cause.op.is_kind("recurrent"):
            words = "{op} starts from a state that is taken after the padding"
        return words.format(op=label), fix.format(op=label)
    mask = found.cause.mask or "other"
    state = _MASKS[mask]
    if mask in ("none", "nothing") and found.flat_mask is not None:
        state = f"{found.flat_mask} is the same everywhere, so that it blocks nothing"
    elif mask in ("none", "nothing", "causal") and found.given_mask is not None:
        state += f", though {found.given_mask} is given"
    default = (
        f"pass the padding mask ({found.given_mask or 'tokens != pad'}) to the attention: key_padding_mask=~mask for torch's layers, "
        'attention_mask=mask for transformers, scores.masked_fill(~mask[:, None, None, :], float("-inf")) by hand'
    )
    return f"{label} attends to the padding of {found.name}: {state}", _MASK_FIXES.get(mask, default)


def _is_border(found: PaddingRead, graph: Graph) -> bool:
    """What hurts little: borders of convolutions, maxima over their outputs, and a state that starts in the padding."""
    kind = found.cause.kind
    if kind == "max-pooling":
        return any(op.is_kind("conv") for op in graph.chain_back(found.cause.op)) or any(
            op.is_kind("conv") for op in graph.ops
        )
    return kind == "window" or (found.at_start and kind in ("recurrent", "steps", "last-state"))
