"""ARC022: a forward that writes to its input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Place, Skip, rule

if TYPE_CHECKING:
    from nnlint import Graph, Op

_ALIASES = ("view", "index", "cast", "identity", "detach", "merge")


@rule("ARC022", "input-modified-in-place", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """The forward writes to a tensor that the caller gave it.

    ## What it does
    Compares torch's write counter of every input tensor before and after the recorded forward, and names the operation that
    wrote. A write through a view or a slice counts; a write to a copy does not.

    ## Why is this bad?
    The caller's batch is changed: a second forward on it (another epoch over tensors in memory, gradient accumulation, a metric,
    a siamese tower) sees other data, and backward may refuse to run.

    ## Example
        def forward(self, x):
            x -= x.mean(dim=1, keepdim=True)
            return self.net(x)

    ## Use instead
        def forward(self, x):
            return self.net(x - x.mean(dim=1, keepdim=True))

    ## References
    - PyTorch: In-place operations with autograd (autograd mechanics)
    """
    if graph.method == "symbolic":
        raise Skip("no recorded run: writes to the input are unknown")
    for name in graph.facts.modified_inputs:
        writer = _writer(name, graph)
        place = writer if writer is not None else Place()
        what = f"{writer.label} writes" if writer is not None else "the forward writes"
        yield Finding(
            at=place,
            message=f"{what} to the input {name!r} in place: the forward pass modifies the caller's batch",
            evidence={"input": name},
            fix="work on a copy (`x = x.clone()`), or use the operation that returns a new tensor",
        )


def _writer(name: str, graph: Graph) -> Op | None:
    """The first in-place op on the input or on a view of it."""
    for op in graph.ops:
        if op.in_place and op.inputs and not op.is_kind("identity"):
            source = op.inputs[0]
            while source.inputs and source.is_kind(*_ALIASES):
                source = source.inputs[0]
            if source.is_kind("input") and source.label == name:
                return op
    return None
