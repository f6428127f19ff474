"""ARC018: an output depends on later inputs although the setup is causal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule

if TYPE_CHECKING:
    from nnlint import Declared, Mixing

_LIMIT = 1e-5


@rule("ARC018", "causal-leak", level="error", since="0.1", explains=["TRN001"])
def check(mixing: Mixing, declared: Declared) -> Iterator[Finding]:
    """Outputs at a time see inputs after it, in a model declared causal.

    ## What it does
    Gives every sample another sample's inputs from the middle of the sequence on and compares the evaluation-mode outputs
    before that time (second axis of inputs and outputs; of a model with a decoder, the decoder's inputs). Runs only where
    the setup is causal: `causal=True`, or a Hugging Face model for causal language modeling. A relative change above 1e-5
    is reported with the operation where it starts.

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
    if not declared.causal:
        return
    found = mixing.future
    if found is None:
        raise Skip("no axis of time: no output (batch, time, features) has the length of an input")
    if found.influence <= _LIMIT:
        return
    start = f" from {found.op.label} on" if found.op is not None else ""
    yield Finding(
        at=found.op,
        message=f"outputs before time {found.cut} of {found.length} change by {found.influence:.2g} of the largest output "
        f"(limit {_LIMIT:g}) with the inputs from that time on{start}, though the setup is causal",
        evidence={"influence": found.influence, "limit": _LIMIT, "cut": found.cut, "length": found.length},
        fix="mask the scores of later positions before the softmax (is_causal=True), pad convolutions on the left only, "
        "and use no bidirectional layer, no mean and no norm over time",
    )
