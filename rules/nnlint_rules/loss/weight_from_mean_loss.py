"""LOS037: a weight for each sample that is computed from the loss of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint.kinds import VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Graph, LossCalls, Op

_BETWEEN = VALUE_PRESERVING | {"neg", "detach"}


@rule("LOS037", "weight-from-mean-loss", level="warning", since="0.1")
def check(losses: LossCalls) -> Iterator[Finding]:
    """A weight for each sample, applied to or computed from the loss that is already averaged.

    ## What it does
    Reports a loss that is reduced to one number, turned into a probability by `exp(-loss)`, and multiplied with a weight made of
    it, on a batch of more than one sample. The same for a loss that is reduced to one number and then multiplied with weights or
    a mask of one entry for each sample: `(F.cross_entropy(logits, y) * weights).mean()`.

    ## Why is this bad?
    A focal loss takes the weight off samples that are easy. Of the mean, all samples have one and the same weight: the loss is
    the plain cross-entropy with a learning rate that falls as the mean does. Weights and masks that multiply the mean multiply
    it by their own mean: which sample has which weight makes no difference.

    ## Example
        ce = F.cross_entropy(logits, y)
        loss = (1 - torch.exp(-ce)) ** 2 * ce

    ## Use instead
        ce = F.cross_entropy(logits, y, reduction="none")
        loss = ((1 - torch.exp(-ce)) ** 2 * ce).mean()

    ## References
    - T.-Y. Lin et al., Focal Loss for Dense Object Detection, 2017
    """
    graph, end = losses.graph, losses.require_result().op
    if end is None:
        return
    samples = max((op.shape[0] for op in graph.inputs if op.shape), default=1)
    upstream = graph.ancestors(end) | {end}
    if samples > 1:
        yield from (_weighed(op, *found) for op in upstream if (found := _mean_and_weights(graph, op, samples)))
    for exponential in graph.calls("exp"):
        if exponential not in upstream or exponential.shape != () or not exponential.activations:
            continue
        mean = graph.producer(exponential.activations[0], through=_BETWEEN)
        if samples < 2 or not _is_reduced_loss(graph, mean):
            continue
        product = _product(graph, exponential, mean, upstream)
        if product is not None:
            yield Finding(
                at=product,
                message=f"the weight in {product.label} is computed from {mean.label}, which is reduced over {samples} samples "
                "already: every sample gets the same weight",
                evidence={"samples": samples, "loss": mean.label},
                fix='compute the loss with reduction="none", weigh it, then average: `(weight * loss).mean()`',
            )


def _weighed(op: Op, mean: Op, weights: Op) -> Finding:
    return Finding(
        at=op,
        message=f"{op.label} multiplies {mean.label}, which is reduced to one number already, with {weights.shape} weights: "
        "every sample gets the mean of the weights",
        evidence={"weights": list(weights.shape or ()), "loss": mean.label},
        fix='compute the loss with reduction="none", weigh it, then average: `(weight * loss).mean()`',
        modules=tuple(path for path in (mean.module_path,) if path),
    )


def _mean_and_weights(graph: Graph, op: Op, samples: int) -> tuple[Op, Op] | None:
    """The reduced loss and the weights of the samples, taken from the batch, that a product multiplies; None for any other op."""
    if op.name not in ("mul", "div") or len(op.activations) != 2:
        return None
    for loss, weights in (op.activations, op.activations[::-1]):
        mean = graph.producer(loss, through=_BETWEEN)
        per_sample = (weights.shape or ())[:1] == (samples,) and not weights.requires_grad
        if per_sample and mean.requires_grad and _is_reduced_loss(graph, mean):
            return mean, weights
    return None


def _is_reduced_loss(graph: Graph, op: Op) -> bool:
    """Whether the op is the loss of the whole batch: a loss function's mean, or a mean over one."""
    if op.shape != ():
        return False
    if op.is_kind("loss"):
        return True
    source = graph.producer(op.activations[0], through=_BETWEEN) if op.name in ("mean", "sum") and op.activations else None
    return source is not None and source.is_kind("loss")


def _root(graph: Graph, op: Op) -> Op:
    """The loss function under means and signs."""
    return graph.producer(op, through=_BETWEEN | {"mean", "sum"})


def _product(graph: Graph, exponential: Op, mean: Op, upstream: frozenset[Op]) -> Op | None:
    """The product of the reduced loss with what the exponential was made into."""
    for op in graph.calls("mul"):
        if op not in upstream or len(op.activations) != 2:
            continue
        for weight, loss in (op.activations, op.activations[::-1]):
            weighs = weight is exponential or exponential in graph.ancestors(weight)
            if weighs and loss.shape == () and _root(graph, loss) is _root(graph, mean):
                return op
    return None
