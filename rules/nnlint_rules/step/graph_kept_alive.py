"""STP018: graphs of earlier iterations stay in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Backward, Event, Finding, Forward, Skip, rule
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Events, Step

#: Graphs of earlier iterations from one line: one or two may wait for the next use of a variable.
_ENOUGH = 3


@rule("STP018", "graph-kept-alive", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """The graphs of earlier iterations are still referenced.

    ## What it does
    Looks after each step which graphs of earlier losses and outputs something still refers to, Python's garbage not counted.
    Reports a line whose graphs of three or more earlier iterations are all alive, and how large each is.

    ## Why is this bad?
    A list of losses, or their sum, keeps the graph of every iteration, and with it tensors of the forward: memory grows until the
    process is killed, after hours.

    ## Example
        total += loss

    ## Use instead
        total += loss.item()

    ## References
    - PyTorch documentation, "Frequently asked questions": my model reports "cuda runtime error(2): out of memory"
    """
    if len(events.steps) <= _ENOUGH:
        raise Skip(f"STP018 needs {_ENOUGH + 1} steps, got {len(events.steps)}")
    # A sum that is printed and begun anew every hundred batches has been begun anew at some steps.
    looks = ((step, _alive(events, step, step.alive) or _alive(events, step, step.alive_forwards)) for step in reversed(events.steps))
    last, found = next(((step, kept) for step, kept in looks if kept), (events.steps[-1], []))
    for kept in found:
        newest = kept[-1]
        what = "losses" if isinstance(newest, Backward) else "outputs"
        size = _size(events, newest)
        yield Finding(
            at=at(newest),
            message=f"the graphs of {len(kept)} earlier {what} of this line are still referenced: memory grows by {size} an iteration",
            evidence={"alive": len(kept), "iterations": last.iteration + 1, **_numbers(events, newest)},
            fix="keep numbers: `loss.item()`, or `.detach()` for tensors"
            if what == "losses"
            else "keep `output.detach()`",
        )


def _alive(events: Events, last: Step, indices: tuple[int, ...]) -> list[list[Event]]:
    """The living graphs of earlier iterations by line, one an iteration, where they are enough and none in between is dead."""
    lines: dict[object, dict[int, Event]] = {}
    for event in events.at(indices):
        if event.iteration < last.iteration:
            lines.setdefault(event.location, {}).setdefault(event.iteration, event)
    return [list(found.values()) for found in lines.values() if len(found) >= _ENOUGH]


def _forward(events: Events, event: Event) -> list[Forward]:
    if isinstance(event, Forward):
        return [event]
    indices = event.forwards if isinstance(event, Backward) else ()
    return [found for found in events.at(indices) if isinstance(found, Forward)]


def _numbers(events: Events, event: Event) -> dict[str, float]:
    nodes = event.nodes if isinstance(event, Backward) else 0
    return {"nodes": nodes, "bytes": _bytes(events, event)}


def _bytes(events: Events, event: Event) -> int:
    """What the graph still holds: a backward frees the saved tensors unless it retains the graph."""
    freed = all(
        not (isinstance(backward, Backward) and (backward.retain_graph or backward.create_graph))
        for forward in _forward(events, event)
        for backward in events.at(forward.backwards)
    )
    if freed and any(forward.backwards for forward in _forward(events, event)):
        return 0
    # Measured once a line: other forwards of the line keep as much.
    sizes = {forward.location: forward.graph_bytes for forward in events.forwards if forward.graph_bytes}
    return sum(sizes.get(forward.location, 0) for forward in _forward(events, event))


def _size(events: Events, event: Event) -> str:
    numbers = _numbers(events, event)
    if numbers["bytes"]:
        return f"{numbers['bytes']:.3g} bytes"
    return f"a graph of {numbers['nodes']:g} nodes" if numbers["nodes"] else "a graph"
