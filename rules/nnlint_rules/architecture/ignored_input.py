"""ARC011: an input, or some of its features, has no influence on the output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, Place, Skip, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.architecture._flow import arrive_as_codes
from nnlint_rules.architecture._ignored_positions import ignored_positions

if TYPE_CHECKING:
    from nnlint import Declared, Graph, InputInfluence, Mixing, Op, PaddingStats


class IgnoredInput(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#independence."""

    border: float = Field(
        0.1, description="share of an axis that a strided kernel may leave over at its end: an info only"
    )


@rule("ARC011", "ignored-input", level="warning", since="0.1")
def check(
    graph: Graph, mixing: Mixing, padding: PaddingStats | None, declared: Declared, options: IgnoredInput
) -> Iterator[Finding]:
    """An input tensor, or a slice of its features, that changes nothing.

    ## What it does
    Differentiates a random projection of the evaluation outputs with respect to every floating input, and gives every
    other input to the wrong samples. What shows no influence is changed again, through the training loss and after a few
    updates, before it is reported. Of a floating input every position of every axis is looked at: a channel, a column, a
    time step. A mask (any input with "mask" in its name) without effect is an error. Inputs and features that are the same
    for all samples and cannot be judged, zeros (padding), positions that a mask or a length hides, and those that a stride (a
    1 x 1 convolution with stride 2, a slice with a step) skips at regular distances are passed over. The last positions of an
    axis, which a strided kernel leaves over, two of three colour channels, and what reaches the output as codes of a quantizer
    alone are an info.
    `declared={"unused-inputs"}` silences the rule.

    ## Why is this bad?
    The model was given something to use and does not use it: a forgotten argument, a slice with the wrong bound, features
    cut off by a concatenation that was overwritten. Attention that never gets its padding mask attends to padding.

    ## Example
        def forward(self, x, mask):
            return self.encoder(x)                              # the mask is not passed on

    ## Use instead
        def forward(self, x, mask):
            return self.encoder(x, src_key_padding_mask=mask)

    ## References
    - Karpathy: A Recipe for Training Neural Networks, 2019 ("use backprop to chart dependencies")
    """
    if "unused-inputs" in declared.traits:
        return
    unknown, unread = [], []
    for found in mixing.inputs:
        if found.unknown:
            unknown.append(f"{found.name}: {found.unknown}")
        place = _place(graph, found.name)
        if found.constant:
            continue
        if found.matters or _tells_padding(padding, found.name):
            pass
        elif place == Place() and not found.is_mask:
            unread.append(found)
        else:
            yield _whole(found, place, as_codes=arrive_as_codes(_named(graph, found.name), graph.outputs))
        yield from ignored_positions(found, place, graph, border_share=options.border)
    if unread:
        yield _unread(unread)
    if unknown:
        raise Skip("; ".join(unknown))


def _tells_padding(padding: PaddingStats | None, name: str) -> bool:
    """Whether the input holds the lengths of a sequence whose padding is read: ARC032 says so."""
    if padding is None or not any(one.given_lengths and one.given_lengths.name == name for one in padding.sequences):
        return False
    try:
        return any(found.given_lengths == name for found in padding.read)
    except Skip:
        return False


def _whole(found: InputInfluence, place: Op | Place, *, as_codes: bool) -> Finding:
    what = "mask" if found.is_mask else "input"
    return Finding(
        at=place,
        level=Level.ERROR if found.is_mask else Level.INFO if as_codes else None,
        message=f"the {what} {found.name} has no influence: giving it to the wrong samples changes neither the outputs nor "
        "the training loss" + (", also after a few updates" if found.updated else ""),
        evidence={"input": found.name, "influence": 0.0, "shape": list(found.shape)},
        fix=f"pass {found.name} on to the layers that need it (attn_mask, key_padding_mask, lengths), or drop the argument"
        if found.is_mask
        else f"use {found.name} in forward, or drop the argument",
    )


def _unread(inputs: list[InputInfluence]) -> Finding:
    """Arguments that no operation reads: one finding, since it is one signature that has too many of them."""
    finding = _whole(inputs[0], Place(), as_codes=False)
    if len(inputs) == 1:
        return finding
    names = [found.name for found in inputs]
    return replace(
        finding,
        message=f"no operation reads the inputs {listed(names)}: giving them to the wrong samples changes neither the outputs nor "
        "the training loss",
        evidence={"inputs": [found.name for found in inputs], "influence": 0.0},
        fix="use them in forward, or drop the arguments; where models share one signature, declare "
        '`declared={"unused-inputs"}`',
    )


def _place(graph: Graph, name: str) -> Op | Place:
    """Where the input is first used; the model as a whole where it never is."""
    return next((op.users[0] for op in _named(graph, name) if op.users), Place())


def _named(graph: Graph, name: str) -> list[Op]:
    """The input of this name; none where it is no tensor of its own in the graph."""
    return [op for op in graph.inputs if op.label == name]
