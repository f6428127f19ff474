"""ARC019: softmax as a hidden activation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint.kinds import VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Graph, Op


#: What ends the walk from a softmax to the scores that it takes.
_COMPUTED = ("linear-map", "recurrent", "attention", "embedding", "norm", "dropout", "input", "activation")


@rule("ARC019", "hidden-softmax", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Softmax used as the activation between two learnable layers.

    ## What it does
    Reports a softmax whose output goes, through value-preserving operations, into a linear or convolution layer, and behind
    which no other use of it stands. Attention weights, gates and mixture weights are multiplied into values, not fed to a layer;
    samples of categories (`F.gumbel_softmax`, or noise added to the scores), means of a distribution over fixed values, and
    probabilities that the model also returns are left alone.

    ## Why is this bad?
    The units of a softmax compete: their sum is one, so the signal shrinks with the width (each is about 1/n, differing between
    samples by less), and the gradient with it.

    ## Example
        h = F.softmax(self.fc1(x), dim=1)
        return self.fc2(h)

    ## Use instead
        h = F.relu(self.fc1(x))
        return self.fc2(h)

    ## References
    - Goodfellow, Bengio and Courville, Deep Learning, section 6.2.2.3: softmax units for output distributions
    """
    for op in graph.calls("softmax", "log-softmax"):
        if op.in_loss or op.is_kind("gumbel") or not op.requires_grad or op in graph.outputs or _is_sample(op):
            continue
        layers = graph.consumers(op, through=VALUE_PRESERVING)
        if layers and all(_is_layer_of(layer, op, graph) for layer in layers) and _has_layer_before(op, graph):
            yield Finding(
                at=op,
                message=f"{op.label} is a hidden activation before {layers[0].label}: its units sum to one"
                + (f", about 1/{op.shape[-1]} each" if op.shape else ""),
                evidence={"layer_behind": layers[0].label, "units": op.shape[-1] if op.shape else None},
                fix="ReLU or GELU between layers; softmax only for probabilities and attention weights",
                modules=tuple(layer.module_path for layer in layers if layer.module_path),
            )


def _is_sample(op: Op) -> bool:
    """Whether noise is added to the scores: the softmax stands for a draw among categories."""
    waiting, seen = list(op.activations), set()
    while waiting:
        source = waiting.pop()
        if source.is_kind("random"):
            return True
        if source not in seen and not source.is_kind(*_COMPUTED):
            waiting.extend(source.activations)
        seen.add(source)
    return False


def _is_layer_of(layer: Op, op: Op, graph: Graph) -> bool:
    """Whether `layer` is a linear layer or convolution that takes the softmax's output as its data."""
    if not layer.is_kind("linear", "conv") or layer.in_loss or not layer.activations or not layer.parameters:
        return False  # with fixed weights the layer takes the mean of a distribution
    if graph.producer(layer.activations[0], through=VALUE_PRESERVING) is not op:
        return False
    return not _is_weight(layer, graph)


def _is_weight(layer: Op, graph: Graph) -> bool:
    """Whether what the layer makes of the softmax still weighs values, as heads of attention that are mixed do."""
    users = graph.consumers(layer, through=VALUE_PRESERVING)
    return bool(users) and all(user.is_kind("matmul", "mul") and len(user.activations) > 1 for user in users)


def _has_layer_before(op: Op, graph: Graph) -> bool:
    return graph.follows(op, "linear-map")
