"""STP019: a backward runs into the graph of an earlier iteration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Backward, Finding, Forward, Skip, rule
from nnlint_rules.step._steps import at, raised

if TYPE_CHECKING:
    from nnlint import Events


@rule("STP019", "state-carried-with-graph", level="error", since="0.1", explains=["STP018"])
def check(events: Events) -> Iterator[Finding]:
    """A backward runs into the graph of an earlier iteration.

    ## What it does
    Follows which forwards a loss reaches. Reports a backward that reaches forwards from before the last update of their own
    parameters as well as newer ones, and says what happens: torch raises ("backward through the graph a second time", "modified by
    an inplace operation"), or each iteration goes through a longer graph. Backpropagation through time within one iteration, several
    backwards before one update, and a generator's graph that outlives the discriminator's update are not reported.

    ## Why is this bad?
    The old graph holds freed tensors or overwritten parameters, so that torch raises in the second iteration; with
    `retain_graph=True`, time and memory of an iteration grow with the number of iterations.

    ## Example
        output, hidden = rnn(x, hidden)

    ## Use instead
        output, hidden = rnn(x, hidden.detach())

    ## References
    - PyTorch example "word_language_model": `repackage_hidden`
    """
    if not events.backwards:
        raise Skip("no backward pass ran")
    carried = [(event, old) for event in events.backwards if (old := _older(events, event))]
    if not carried:
        return
    event, old = carried[-1]
    first = events.backwards[0]
    sums = any(term.forwards and set(term.forwards) <= old for term in event.terms)
    grows = f"{first.nodes} to {event.nodes} nodes in {len(carried) + 1} backwards"
    yield Finding(
        at=at(event),
        message=f"the backward runs into the graphs of {len(old)} forwards of earlier iterations: "
        + (f"torch raises {event.error.partition(':')[0]}" if event.error else f"its graph grows, {grows}"),
        evidence={
            "forwards": len(old),
            "backwards": len(carried),
            "nodes_first": first.nodes,
            "nodes_last": event.nodes,
            **raised(event),
        },
        fix="start the sum of losses anew in each iteration, and add `loss.item()` to what is only reported"
        if sums
        else "detach what is carried over at the start of each iteration: `hidden = hidden.detach()`; drop `retain_graph=True`",
    )


def _older(events: Events, backward: Backward) -> frozenset[int]:
    """The forwards it reaches that an earlier backward had reached, before an update of their parameters and a newer forward."""
    reached = [event for event in events.at(backward.forwards) if isinstance(event, Forward)]
    if not reached:
        return frozenset()
    newest = max(event.index for event in reached)
    found = set()
    for forward in reached:
        used = [index for index in forward.backwards if index < backward.index]
        own = events.modules[forward.module].parameters
        updates = [
            step
            for step in events.steps
            if forward.index < step.index < newest and set(step.backwards) & set(used) and own & step.gradients.keys()
        ]
        if updates:
            found.add(forward.index)
    return frozenset(found)
