"""LOS030: the end of a sequence is never among the labels that count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint_rules.loss._targets import place_of_loss

if TYPE_CHECKING:
    from nnlint import CopiedLabels, Declared, Graph, PaddingStats, SequenceLabels


class EndLabels(Options):
    """Thresholds. No calibration: one sample may end where the batch was cut, two that all lack the label are a habit."""

    samples: int = Field(2, description="samples that must hold the end token after their first position")


@rule("LOS030", "end-never-labelled", level="warning", since="0.1")
def check(
    labels: SequenceLabels, padding: PaddingStats, graph: Graph, declared: Declared, options: EndLabels
) -> Iterator[Finding]:
    """The end-of-sequence id is in the inputs and never among the labels that count.

    ## What it does
    For targets that are a copy of an input of token ids: takes the end token from the model's configuration, or the id that all
    samples of different lengths end with, and looks for it among the labels that are not ignored. Its place at the very start of
    a sample (models that begin with it) does not count. Silent where it is not in the inputs, as in streams of text without ends.
    `declared={"end-never-labelled"}` silences the rule. Skipped where the targets are not a copy of an input.

    ## Why is this bad?
    The model never learns to stop: generation runs on to the length limit. The usual cause is a collator that masks all
    padding while the padding id is the end id, so that the real end of each sample is ignored with it.

    ## Example
        tokenizer.pad_token = tokenizer.eos_token
        labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)    # the end is gone as well

    ## Use instead
        labels = ids.masked_fill(attention_mask == 0, -100)              # the first end of each sample counts

    ## References
    - https://github.com/huggingface/transformers/issues/22794
    """
    if "end-never-labelled" in declared.traits:
        return
    for copy in labels.copies:
        found = _end(copy, padding, options) if copy.tokens else None
        if found is None:
            continue
        token, origin, samples = found
        yield Finding(
            at=place_of_loss(graph),
            message=f"the end token {token} ({origin}) is in {samples} of {len(copy.given)} samples of {copy.input} and never among "
            "the labels that count: the model does not learn to stop",
            evidence={"token": token, "samples": samples, "limit": options.samples, "input": copy.input},
            fix="mask labels by the attention mask, not by the padding id: labels = ids.masked_fill(attention_mask == 0, -100), and "
            "end every sample with tokenizer.eos_token",
        )
        return


def _end(copy: CopiedLabels, padding: PaddingStats, options: EndLabels) -> tuple[int, str, int] | None:
    """The end token, where it is known from, and in how many samples it is; None where it is labelled, or in too few."""
    for token, origin in (
        *((end, "of the configuration") for end in padding.pad_ids.ends),
        *_common_last(copy, padding),
    ):
        samples = int((copy.given == token).any(1).sum())
        if samples >= options.samples:
            return (token, origin, samples) if token not in copy.counted else None
    return None


def _common_last(copy: CopiedLabels, padding: PaddingStats) -> Iterator[tuple[int, str]]:
    """The id that the content of all samples ends with, where their lengths differ."""
    for sequence in padding.sequences:
        if sequence.leaf.name != copy.input or sequence.at_start or len(copy.given) < 4:
            continue
        last = sequence.lengths - 2 - int(sequence.ends_assumed)  # the first position is not among those given
        ends = copy.given.gather(1, last.clamp(min=0)[:, None])[:, 0]
        common = ends.mode().values
        # The longest sample has lost its end where inputs and targets are cut from one row.
        if bool((last >= 0).all()) and int((ends != common).sum()) <= len(ends) // 10:
            yield int(common), "that the samples end with"
