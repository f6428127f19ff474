"""EVL002: the evaluation records graphs that nobody uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.evaluation._passes import at, evaluations

if TYPE_CHECKING:
    from nnlint import Events, Forward


@rule("EVL002", "evaluation-keeps-graph", level="info", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """The evaluation records autograd graphs that no backward uses.

    ## What it does
    Reports evaluation forwards that record a graph, with the bytes of the tensors that it keeps. A forward that any backward or
    `autograd.grad` reaches (adversarial evaluation, attributions) is none of them.

    ## Why is this bad?
    The saved tensors of each batch take memory until the output is gone, often most of the memory of the evaluation, for nothing.

    ## Example
        model.eval()
        for x, y in val_loader:
            correct += (model(x).argmax(1) == y).sum()

    ## Use instead
        model.eval()
        with torch.no_grad():
            for x, y in val_loader: ...

    ## References
    - PyTorch: `torch.no_grad`, `torch.inference_mode`
    """
    found: dict[tuple[str, object], list[Forward]] = {}
    for forward in evaluations(events):
        if forward.records_graph:
            found.setdefault((forward.module, forward.location), []).append(forward)
    for (name, _), recorded in found.items():
        kept = max((forward.graph_bytes or 0 for forward in recorded), default=0)
        yield Finding(
            at=at(recorded[0]),
            message=f"{len(recorded)} evaluation forwards of {name} record a graph that no backward uses: "
            f"{kept:,} bytes of saved tensors a batch".replace(",", " "),
            evidence={"forwards": len(recorded), "bytes": kept},
            fix="evaluate under `with torch.no_grad():`",
        )
