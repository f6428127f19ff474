"""DST005: the forward does not go through the wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Events


@rule("DST005", "wrapper-bypassed", level="error", since="0.1", explains=["DST001"])
def check(events: Events) -> Iterator[Finding]:
    """Training forwards call the module inside DistributedDataParallel instead of the wrapper.

    ## What it does
    Reports, in a process group, training forwards of a wrapped module that do not go through its wrapper. Evaluation may do that.

    ## Why is this bad?
    The wrapper prepares the averaging of gradients in its forward. Without it each rank steps with its own gradients, and the
    replicas drift apart.

    ## Example
        loss = loss_fn(ddp_model.module(x), y)

    ## Use instead
        loss = loss_fn(ddp_model(x), y)

    ## References
    - PyTorch: "Distributed Data Parallel", internal design
    """
    if events.group is None or events.group.world < 2:
        raise Skip("needs several processes, got one")
    if not events.group.wrappers:
        raise Skip("no wrapped module")
    for name, wrapper in events.group.wrappers.items():
        forwards = [forward for forward in events.training_forwards if forward.module == name]
        past = [
            forward
            for forward in forwards
            if forward.wrapper is None and set(forward.backwards) & events.used_backwards
        ]
        if past:
            yield Finding(
                at=at(past[0]),
                message=f"{len(past)} of {len(forwards)} training forwards call {name} inside its {wrapper}: its gradients are not "
                f"averaged over {events.group.world} ranks",
                evidence={"forwards": len(past), "of": len(forwards), "ranks": events.group.world},
                fix="call the wrapper itself in the training forward, and `.module` only to save or to evaluate",
            )
