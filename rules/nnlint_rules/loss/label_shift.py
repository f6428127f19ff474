"""LOS029: labels of a causal language model that are shifted once too often, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.loss._targets import place_of_loss

if TYPE_CHECKING:
    from nnlint import CopiedLabels, Declared, Graph, SequenceLabels

_LIMIT = 1e-5


@rule("LOS029", "label-shift", level="error", since="0.1")
def check(labels: SequenceLabels, graph: Graph, declared: Declared) -> Iterator[Finding]:
    """Labels of a causal language model shifted once too often, or not at all.

    ## What it does
    For targets that are a copy of an input of token ids, changes the input at one position and its neighbours and looks at the
    prediction of that position. Reported is a causal model (no prediction changes with later tokens) whose prediction of a token
    sees that token itself (it is trained to copy it, also where the loss cuts off the first outputs instead of the last, or, as a
    warning, where the data hold the token before: `roll(1)` for `roll(-1)`, inputs and targets swapped), or sees
    neither it nor the one before it but the one before that (the token after next is predicted: labels were shifted by the data and
    again by the model). It is the same whoever wrote the shift: a collator, a loss, the model. Several heads that predict 1, 2, 3,
    ... tokens ahead are left alone, and so are models that see both ways. `declared={"label-shift"}` silences the rule. Skipped where
    the targets are not a copy of an input.

    ## Why is this bad?
    Without a shift the loss falls to zero and the model has learned to repeat its input. With two the loss looks ordinary, a
    little high, and every generated text lacks every other token.

    ## Example
        batch = {"input_ids": ids[:, :-1], "labels": ids[:, 1:]}        # a model of transformers shifts labels itself

    ## Use instead
        batch = {"input_ids": ids, "labels": ids}

    ## References
    - transformers: `labels` of causal language models "are shifted inside the model"
    - https://github.com/huggingface/transformers/issues/32944
    """
    if "label-shift" in declared.traits:
        return
    tokens = [copy for copy in labels.copies if copy.tokens and not copy.selected]
    if any(copy.shift == 1 and copy.own <= _LIMIT < copy.before for copy in tokens):
        return
    for copy in tokens:
        message = _fault(copy)
        if message is not None:
            yield Finding(
                at=place_of_loss(graph),
                level=Level.WARNING if _may_be_a_delay(copy) else None,
                message=message,
                evidence={
                    "shift": copy.shift,
                    "own": copy.own,
                    "before": copy.before,
                    "earlier": copy.earlier,
                    "limit": _LIMIT,
                    "input": copy.input,
                },
                fix=_fix(copy),
            )
            return


def _fault(copy: CopiedLabels) -> str | None:
    if (copy.shift < 0 < copy.cut or _may_be_a_delay(copy)) and copy.own > _LIMIT >= copy.beyond:
        return (
            f"the labels are shifted the wrong way: output t is trained to predict {copy.input}[t - {-copy.shift}], which it sees "
            f"(changing that token changes its prediction by {copy.own:.2g} of the largest; limit {_LIMIT:g})"
        )
    if copy.later > _LIMIT:
        return None
    if copy.shift == 0 and copy.own > _LIMIT:
        return (
            f"the labels are not shifted: output t is trained to copy {copy.input}[t], which it sees (changing that token changes "
            f"its prediction by {copy.own:.2g} of the largest; limit {_LIMIT:g})"
        )
    if copy.shift > 1 and max(copy.own, copy.before) <= _LIMIT < copy.earlier:
        return (
            f"the labels are shifted {copy.shift} times: output t is trained to predict {copy.input}[t + {copy.shift}] (its "
            f"prediction depends on the token {copy.shift} before, and on none between)"
        )
    return None


def _may_be_a_delay(copy: CopiedLabels) -> bool:
    """Whether the data alone ask for the token before: a shift the wrong way, or a memory task of one step."""
    return copy.shift == -1 and copy.cut == 0


def _fix(copy: CopiedLabels) -> str:
    if copy.shift <= 0:
        return "shift once: cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())"
    return (
        "shift in one place only: give labels=input_ids (with -100 at padding) to a model that shifts them itself, or compare "
        "logits[:, :-1] with unshifted ids[:, 1:]"
    )
