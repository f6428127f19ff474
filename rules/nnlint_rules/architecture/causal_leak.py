"""ARC018: an output depends on later inputs although it predicts them, or the setup is causal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule

if TYPE_CHECKING:
    from nnlint import CopiedLabels, Declared, Mixing, SequenceLabels

_LIMIT = 1e-5
_FIX = (
    "mask the scores of later positions before the softmax (is_causal=True), pad convolutions on the left only, and use no "
    "bidirectional layer, no mean and no norm over time"
)
_FIX_OF_STEPS = (
    "feed each step the entry before the one it predicts: {input}[:, t] where the target is {input}[:, t + 1], or "
    "{input}[:, :-1] as a whole"
)


@rule("ARC018", "causal-leak", level="error", since="0.1")
def check(mixing: Mixing, labels: SequenceLabels | None, declared: Declared) -> Iterator[Finding]:
    """Outputs at a time see inputs after it, though they predict them.

    ## What it does
    Where the setup is causal (`causal=True`, or a Hugging Face model for causal language modeling), gives every sample another
    sample's inputs from the middle of the sequence on and compares the evaluation-mode outputs before that time (second axis of
    inputs and outputs; of a model with a decoder, the decoder's inputs). A relative change above 1e-5 is reported with the
    operation where it starts.

    Where the targets are a later part of an input (a copy of it, shifted), nothing needs to be declared: changing the input at
    one position must not change the prediction of that very position. Targets at the same position as the input (masked language
    modeling, autoencoders, denoising) are left alone, and so is what reaches the outputs by one vector for the whole sequence, as
    in a sequence autoencoder, and an input whose copy another input predicts causally (a source beside a decoder's input).
    `declared={"sees-future"}` silences this second part.

    ## Why is this bad?
    A model that predicts the next token and can see it copies it: the training loss falls to nearly zero, and generation,
    where the future does not exist, is useless. A forgotten or transposed mask, a convolution with symmetric padding, a
    bidirectional layer or a mean over time do that.

    ## Example
        att = (q @ k.transpose(-2, -1) / math.sqrt(d)).softmax(-1)          # no mask

    ## Use instead
        att = q @ k.transpose(-2, -1) / math.sqrt(d)
        att = att.masked_fill(self.mask[:T, :T] == 0, float("-inf")).softmax(-1)

    ## References
    - Vaswani et al.: Attention Is All You Need, 2017, arXiv:1706.03762, section 3.2.3
    - https://github.com/huggingface/transformers/issues/31673
    """
    declared_leak = _of_declaration(mixing) if declared.causal else None
    if declared_leak is not None:
        yield declared_leak
    elif labels is not None and "sees-future" not in declared.traits:
        yield from _of_labels(labels)


def _of_declaration(mixing: Mixing) -> Finding | None:
    found = mixing.future
    if found is None:
        raise Skip("no axis of time: no output (batch, time, features) has the length of an input")
    if found.influence <= _LIMIT:
        return None
    start = f" from {found.op.label} on" if found.op is not None else ""
    return Finding(
        at=found.op,
        message=f"changing inputs from position {found.cut} of {found.length} on changes earlier outputs by "
        f"{found.influence:.2g} of the largest output (limit {_LIMIT:g}){start}, though the setup is causal",
        evidence={"influence": found.influence, "limit": _LIMIT, "cut": found.cut, "length": found.length},
        fix=_FIX,
    )


def _of_labels(labels: SequenceLabels) -> Iterator[Finding]:
    later = [copy for copy in labels.copies if copy.shift >= 1 and not copy.selected]
    # Where one input (labels that a decoder reads, moved on by one) is predicted from what is before it, another one that holds the
    # same values is what it is predicted from.
    if not later or any(copy.own <= _LIMIT for copy in later):
        return
    if any(copy.own <= _LIMIT < copy.before for copy in labels.copies):
        return
    found = later[-1]
    # A vector for the whole sequence sees what comes after the position as well.
    if not found.by_vector or found.later <= _LIMIT:
        yield _leak(found)


def _leak(found: CopiedLabels) -> Finding:
    start = f" from {found.op.label} on" if found.op is not None else ""
    ahead = "the next position" if found.shift == 1 else f"{found.shift} positions ahead"
    return Finding(
        at=found.op,
        message=f"the targets are {found.input} {ahead}, and the prediction of position {found.position} changes by "
        f"{found.own:.2g} of the largest prediction (limit {_LIMIT:g}) with the input at that position: it sees what it "
        f"predicts{start}",
        evidence={
            "influence": found.own,
            "limit": _LIMIT,
            "shift": found.shift,
            "position": found.position,
            "length": found.length,
            "input": found.input,
        },
        fix=_FIX if found.later > _LIMIT or not found.by_vector else _FIX_OF_STEPS.format(input=found.input),
    )
