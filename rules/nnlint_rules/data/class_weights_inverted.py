"""DAT014: class weights that grow with the frequency of their class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint.kinds import CLASS_LOSSES
from nnlint_rules.data._class_weights import (
    GIVEN,
    MEASURED,
    class_counts,
    differ,
    is_permuted,
    rise_together,
    wrong_pos_weight,
)

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch, Graph, LossCalls, LossResponse, MeasuredLoss, Op


class InvertedWeights(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#class-weights."""

    ratio: float = Field(1.5, description="of two weights, and of two frequencies, from which they differ")
    correlation: float = Field(0.9, description="of the logarithms of weights and frequencies")
    deviation: float = Field(0.15, description="relative, up to which weights are those of the inverse frequencies in another order")
    noise: float = Field(3.0, description="standard deviations by which the counts must differ")


@rule("DAT014", "class-weights-inverted", level="warning", since="0.1")
def check(
    losses: LossCalls, response: LossResponse | None, batch: Batch | None, options: InvertedWeights
) -> Iterator[Finding]:
    """The loss weighs frequent classes more than rare ones.

    ## What it does
    Compares the class weights given to cross-entropy and NLL loss (`weight`) with the labels of the data: it reports weights that
    rise with the frequency, and weights that are the inverse frequencies in the wrong order. `pos_weight` is reported where it is
    the ratio of positives to negatives instead of its inverse, and where it is not positive. Of every other loss, whoever wrote
    it, the weights are measured: the size of the gradient at a decision of each class, where all answers are alike.

    ## Why is this bad?
    Class weights are there so that rare classes count. The wrong way round they take away what little a rare class
    contributes: always answering with the frequent class becomes an even better answer.

    ## Example
        weight = torch.tensor([1 / 0.08, 1 / 0.92])  # classes 1 and 0, in that order
        loss = nn.CrossEntropyLoss(weight=weight)

    ## Use instead
        weight = len(labels) / (classes * torch.bincount(labels))
        loss = nn.CrossEntropyLoss(weight=weight)

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss` (weight), `torch.nn.BCEWithLogitsLoss` (pos_weight is negatives / positives)
    """
    losses.require_targets()
    given = [call for call in losses if not {"weight", "pos_weight"}.isdisjoint(call.others)]
    if not given and response is not None and response.couples_samples is False:
        yield from _measured(response, options)
    for call in given:
        weight = call.others.get("weight")
        if call.kind in CLASS_LOSSES and weight is not None and weight.dim() == 1:
            found = _of_classes(losses.graph, call, weight, class_counts(call, batch, len(weight)), options)
            if found is not None:
                yield found
        elif call.others.get("pos_weight") is not None:
            yield from wrong_pos_weight(
                call, call.others["pos_weight"], noise=options.noise, ratio=options.ratio
            )


def _measured(response: LossResponse, options: InvertedWeights) -> Iterator[Finding]:
    """Weights of a loss that has them in its own code. Of few classes they have to be the frequencies, or nearly so."""
    weights, sizes = [found.weight for found in response.weights], [found.count for found in response.weights]
    if len(weights) < 2 or not differ(weights, sizes, noise=options.noise, ratio=options.ratio):
        return
    if not rise_together(weights, sizes, powers=MEASURED, least=options.correlation):
        return
    rarest = min(response.weights, key=lambda found: found.count)
    total, weighed = sum(sizes), sum(w * n for w, n in zip(weights, sizes, strict=True))
    share, part = rarest.count / total, rarest.weight * rarest.count / weighed
    yield Finding(
        at=response,
        message=f"the loss weighs classes by their frequency: targets of {rarest.label:g} are {share:.2g} of all and have only "
        f"{part:.2g} of the weight",
        evidence={"class": rarest.label, "share_of_labels": share, "share_of_weight": part, "limit": options.correlation},
        fix="weigh each class with its own inverse frequency: `weight = len(labels) / (classes * torch.bincount(labels))`; for "
        "two classes swap the two weights",
        confidence="medium",
    )


def _of_classes(
    graph: Graph, call: MeasuredLoss, weight: Tensor, counts: list[int], options: InvertedWeights
) -> Finding | None:
    pairs = [(float(w), n) for w, n in zip(weight, counts, strict=False) if n and float(w) > 0]
    if len(pairs) < 2:
        return None
    weights, sizes = [w for w, _ in pairs], [n for _, n in pairs]
    if not differ(weights, sizes, noise=options.noise, ratio=options.ratio):
        return None
    rising = rise_together(weights, sizes, powers=GIVEN, least=options.correlation)
    if not rising and not is_permuted(weights, sizes, deviation=options.deviation):
        return None
    rarest = min((n, place) for place, n in enumerate(counts) if n)[1]
    share = counts[rarest] / sum(counts)
    weighed = float(weight[rarest]) * counts[rarest] / sum(float(w) * n for w, n in zip(weight, counts, strict=False))
    ideal = [round(sum(counts) / (len(sizes) * n), 3) if n else 1.0 for n in counts]
    shown = ", ".join(f"{value:g}" for value in ideal[:10]) + (", ..." if len(ideal) > 10 else "")
    how = "rise with the frequency of the class" if rising else "are the inverse frequencies in the wrong order"
    return Finding(
        at=_place(graph, call),
        message=f"the class weights of {call.label} {how}: class {rarest} has {share:.2g} of the labels and only {weighed:.2g} "
        "of the weight",
        evidence={"class": rarest, "share_of_labels": share, "share_of_weight": weighed, "limit": options.correlation},
        fix=f"weigh each class with its own inverse frequency: `weight=torch.tensor([{shown}])`",
        confidence="medium",
    )


def _place(graph: Graph, call: MeasuredLoss) -> MeasuredLoss | Op:
    """The line that calls the loss; a loss module that is given as it is has none, but the layer before it does."""
    if call.location is not None or call.prediction is None:
        return call
    layers = (op for op in graph.chain_back(call.prediction) if op.is_kind("linear-map"))
    return next(layers, call)
