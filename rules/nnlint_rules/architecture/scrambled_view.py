"""ARC029: a view that mixes two axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint_rules.architecture._misaligned import misaligned
from nnlint_rules.architecture._pairing import mispaired
from nnlint_rules.architecture._repair import reordering

if TYPE_CHECKING:
    from nnlint import Cut, FewerSamples, Graph, Op

_VIEWS = ("view", "identity", "cast", "detach")


@rule("ARC029", "scrambled-view", level="warning", since="0.2")
def check(graph: Graph, fewer: FewerSamples) -> Iterator[Finding]:
    """A view or reshape where a permute is needed.

    ## What it does
    Follows every axis through the graph and reports a `view` or `reshape` that cuts memory across two of them, so that a new
    dimension holds pieces of both in an order that neither has: (N, C, H, W) viewed as (N, H*W, C), heads made by
    `view(N, heads, time, width)` from (N, time, heads * width), batch and time swapped by `view`. It is an error where a layer
    or a product then sums or steps over such a dimension, and where samples are mixed. Views that merge or split neighbours are
    left alone, as are those that a later view undoes, and views of padded values (the shift of relative positions). Where the sizes
    only happen to agree (a batch of 8 merged with heads of width 8), the forward on one sample fewer tells.
    A loss whose flattened outputs go time by time and whose targets go sample by sample is the same fault (targets that are given
    flat are placed by their values: the next ids, or labels that ids tell), and so are values that are joined entry by entry
    although a view laid the parts of an axis in another order in one of them: windows put back without the permute, `repeat`
    where `repeat_interleave` was meant.

    ## Why is this bad?
    `view` keeps the order of memory and only counts it out anew: no value moves. What is called a position afterwards holds values
    of several positions and channels, and with a batch or time axis inside, of several samples. Shapes fit, so nothing raises.

    ## Example
        n, c, h, w = features.shape
        tokens = features.view(n, h * w, c)

    ## Use instead
        tokens = features.flatten(2).transpose(1, 2)

    ## References
    - https://docs.pytorch.org/docs/stable/tensor_view.html
    """
    if graph.method == "symbolic":
        raise Skip("needs shapes, but the model did not run")
    places: set[object] = set()
    for op, axes in graph.axis_flow.values():
        reader = _reader(graph, op) if axes.cuts else None
        place = op.call_location or op.index
        if reader is None or place in places or _agrees_by_chance(fewer, op):
            continue
        places.add(place)  # one line that runs for every layer is one fault
        yield _finding(graph, op, axes.cuts[0], reader)
    if not places:
        yield from mispaired(graph)
        yield from misaligned(graph)


def _agrees_by_chance(fewer: FewerSamples, op: Op) -> bool:
    """Whether the same view of fewer samples cuts nothing."""
    there = fewer.counterpart(op)
    return there is not None and not there.cuts


def _finding(graph: Graph, op: Op, cut: Cut, reader: Op) -> Finding:
    flow = graph.axis_flow
    *parts, last = _named(graph, op, cut)
    mixed = f"{', '.join(parts)} and {last}" if parts else last
    contracts = not reader.is_kind("loss", *_VIEWS) and _sums_over(graph, reader, op)
    mixes_samples = flow.batch_is_certain and flow.has_batch(cut.digits)
    source = op.inputs[0]
    given = ", ".join(map(flow.describe, graph.axes(source).dims))
    takes = "the outputs hold it so" if reader is op else f"{reader.label} gets it so"
    what = f"{reader.label} sums over the mixture" if contracts else takes
    return Finding(
        at=op,
        level=Level.ERROR if contracts or mixes_samples else None,
        message=f"{op.name} moves no value: {source.shape} ({given}) counted out as {op.shape} mixes {mixed} in one dimension, and {what}",
        evidence={
            "from": list(source.shape or ()),
            "to": list(op.shape or ()),
            "mixed": mixed,
            "contracted": contracts,
        },
        fix=reordering(graph, op, cut)
        or f"permute before the {op.name}, so that axes that are merged are neighbours in the right order",
        modules=tuple(path for path in (op.module_path, reader.module_path) if path),
    )


def _named(graph: Graph, op: Op, cut: Cut) -> list[str]:
    """The axes that are mixed, in words; those without a role by their place."""
    dims = graph.axes(op.inputs[0]).dims
    words = []
    for digit in cut.digits:
        place = next((at for at, dim in enumerate(dims) if any(part.axis is digit.axis for part in dim)), None)
        word = graph.axis_flow.describe((digit,))
        words.append(word.replace("axis", f"axis {place}") if place is not None else word)
    return list(dict.fromkeys(words))


def _reader(graph: Graph, view: Op) -> Op | None:
    """The first op that sums over the mixture; else a loss or an output that still has it; None where it was undone."""
    waiting, seen = list(view.users), {view}
    ends: list[Op] = [view] if view in graph.outputs else []
    sums: list[Op] = []
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        if _sums_over(graph, op, view):
            sums.append(op)
        elif op.is_kind("loss"):
            ends.append(op)
        elif _has(graph, op, view):
            waiting.extend(op.users)
            ends.extend([op] if op in graph.outputs else [])
    return min(sums or ends, key=lambda op: op.index, default=None)


def _has(graph: Graph, op: Op, view: Op) -> bool:
    return any(axis.scrambled_by == view.index for axis in graph.axis_flow.scrambled(graph.axes(op).dims))


def _sums_over(graph: Graph, op: Op, view: Op) -> bool:
    """Whether a product, layer or loop over steps runs along the mixture."""
    axes = graph.axes(op)
    dims = [dim for part in axes.contracted for dim in (part.left, part.right)]
    if axes.steps is not None:
        dims += [axes.steps.positions, axes.steps.samples]
    return any(axis.scrambled_by == view.index for axis in graph.axis_flow.scrambled(dims))
