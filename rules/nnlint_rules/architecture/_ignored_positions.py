"""Positions of an input that have no influence: which of them a strided layer leaves over, and how they are reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level
from nnlint_rules._shared.words import ranges_text
from nnlint_rules.architecture._subsampling import left_over, skipped_by_a_stride

if TYPE_CHECKING:
    from nnlint import Graph, IgnoredFeatures, InputInfluence, Op, Place


_BORDER = "the strided layers leave the end of these axes over"
_LIBRARY = "the design of a model from a library"


def ignored_positions(
    found: InputInfluence, place: Op | Place, graph: Graph, *, border_share: float
) -> Iterator[Finding]:
    """Findings for the positions of an input without influence: one for those inside, one for those left over at the end.

    Args:
        found: what was measured of the input.
        place: where the input is first used.
        graph: the model's; in a model of a library ignored positions are a design.
        border_share: of an axis, up to which a strided kernel may leave positions over at its end.
    """
    ignored = [features for features in found.ignored if not skipped_by_a_stride(features, graph)]
    border = [features for features in ignored if _is_border(features, border_share) or left_over(features, graph)]
    inner = [features for features in ignored if features not in border]
    for group, reason in ((inner, _LIBRARY if graph.facts.library else ""), (border, _BORDER)):
        if group:
            yield _features(found, group, place, reason)


def _is_border(features: IgnoredFeatures, share: float) -> bool:
    return features.at_end and len(features.indices) / features.size <= share


def _features(found: InputInfluence, group: list[IgnoredFeatures], place: Op | Place, reason: str) -> Finding:
    shown = ", ".join(f"{ranges_text(item.indices)} of {item.size} along axis {item.axis}" for item in group)
    return Finding(
        at=place,
        level=Level.INFO if reason else None,
        message=f"positions {shown} of {found.name} have no influence on the output"
        + (f": {reason}" if reason else ""),
        evidence={
            "input": found.name,
            "axes": [item.axis for item in group],
            "positions": [list(item.indices[:50]) for item in group],
            "sizes": [item.size for item in group],
            "share": max(len(item.indices) / item.size for item in group),
        },
        fix="pad or crop the input to a size that the strides divide"
        if reason == _BORDER
        else f"look for slices of {found.name} and for a receptive field that does not reach these positions; drop what is "
        "not meant to be used",
        confidence="medium" if reason else "high",
    )
