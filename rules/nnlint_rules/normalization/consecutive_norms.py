"""NRM012: a norm directly on a norm's output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint.kinds import SHAPE_ONLY
from nnlint_rules._shared.words import listed, paths

if TYPE_CHECKING:
    from nnlint import Graph, Op

_STANDARDIZING = ("batch-norm", "layer-norm", "group-norm", "instance-norm", "rms-norm")


@rule("NRM012", "consecutive-norms", level="info", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """A normalization whose input is the output of another normalization.

    ## What it does
    Lists norms (batch, layer, group, instance, RMS) with nothing but views between them and the norm before, whose
    output nothing else reads (a norm at the start of a residual stream is no case). A final `F.normalize` to unit
    length is not meant.

    ## Why is this bad?
    The second norm finds standardized values already and changes little; of the first only its place in the graph is
    left. Usually one of the two was forgotten in a rearrangement, as with a post-norm encoder followed by a final
    norm.

    ## Example
        x = self.final_norm(self.norm2(x + self.mlp(x)))

    ## Use instead
        x = self.norm2(x + self.mlp(x))

    ## References
    - PyTorch: `torch.nn.TransformerEncoder`, argument `norm`
    """
    norms = graph.calls(*_STANDARDIZING)
    pairs = [(norm, before) for norm in norms if (before := _norm_before(graph, norm)) is not None]
    if not pairs:
        return
    first, before = pairs[0]
    yield Finding(
        at=first,
        message=f"its input is the output of another norm, {before.label}: one of the two is redundant"
        + (f" (also: {listed(norm.label for norm, _ in pairs[1:])})" if len(pairs) > 1 else ""),
        evidence={"pairs": [[before.label, norm.label] for norm, before in pairs]},
        fix="keep one of the two norms",
        modules=paths(op for pair in pairs for op in pair),
    )


def _norm_before(graph: Graph, norm: Op) -> Op | None:
    if not norm.activations:
        return None
    before = graph.producer(norm.activations[0], through=SHAPE_ONLY)
    if not before.is_kind(*_STANDARDIZING) or graph.consumers(before, through=SHAPE_ONLY) != (norm,):
        return None
    return before
