"""DST001: parameters that should be equal on all ranks are not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Place, Skip, rule

if TYPE_CHECKING:
    from nnlint import Events, Ranks, Step


class ReplicasDiverge(Options):
    """Thresholds. No calibration: replicas of data-parallel training apply the very same update, up to the order of sums."""

    tolerance: float = Field(1e-3, description="relative difference of a parameter's 1-norm between ranks")


@rule("DST001", "replicas-diverge", level="error", since="0.1")
def check(ranks: Ranks, options: ReplicasDiverge) -> Iterator[Finding]:
    """Replicas of the model differ after a step.

    ## What it does
    Compares the norm of each parameter across the ranks after each step, and names the first step and the first parameter that differ. Only
    parameters that every rank holds in the same shape are compared: sharded and expert parameters are not.

    ## Why is this bad?
    Each rank then trains a model of its own. The one that is saved has seen a fraction of the data, and the averages of
    gradients belong to no model at all.

    ## Example
        model = DistributedDataParallel(model)
        loss = loss_fn(model.module(x), y)      # not through the wrapper: gradients are not averaged

    ## Use instead
        loss = loss_fn(model(x), y)

    ## References
    - PyTorch: "Distributed Data Parallel", internal design
    """
    if ranks.world < 2:
        raise Skip("needs several processes, got one")
    by_rank = {rank: [step for step in events.steps if step.norms] for rank, events in ranks.events.items()}
    if min((len(steps) for steps in by_rank.values()), default=0) == 0:
        raise Skip("no step was compared across ranks")
    for position, group in enumerate(zip(*by_rank.values(), strict=False)):
        differing = _differing(ranks, group, options.tolerance)
        if differing:
            name, least, most = differing[0]
            yield Finding(
                at=Place("", group[0].location),
                message=f"{name} differs between {ranks.world} ranks after step {position + 1}: its norm is {least:.4g} on one and "
                f"{most:.4g} on another ({len(differing)} of {len(group[0].norms)} parameters differ)",
                evidence={"step": position + 1, "differing": len(differing), "least": least, "most": most},
                fix="call the wrapped model itself in the forward, freeze and change parameters on all ranks alike, and wrap the model "
                "after it was moved and cast",
            )
            return


def _differing(ranks: Ranks, group: tuple[Step, ...], tolerance: float) -> list[tuple[str, float, float]]:
    """The parameters of a step whose norms differ, with the smallest and largest norm."""
    everywhere = set.intersection(*(set(step.norms) for step in group))
    found = []
    for name in group[0].norms:
        if name not in everywhere or not _is_replicated(list(ranks.events.values()), name):
            continue
        values = [step.norms[name] for step in group]
        if not math.isclose(min(values), max(values), rel_tol=tolerance, abs_tol=1e-12):
            found.append((name, min(values), max(values)))
    return found


def _is_replicated(events: list[Events], name: str) -> bool:
    """Whether all ranks hold the parameter in the same shape."""
    return len({log.parameters[name].shape for log in events if name in log.parameters}) == 1
