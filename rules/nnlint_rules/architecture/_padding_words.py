"""What each way in which padding is read is called in a message, and the fix that goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import PaddingRead


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


def reason_and_fix(found: PaddingRead) -> tuple[str, str]:
    """The first part of the message, and the fix."""
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
