"""TRN005: training learns as much without the inputs as with them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, Skip, rule

if TYPE_CHECKING:
    from nnlint import Graph, InputDependence, LossTerms, OverfitRun


class IgnoresInput(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#input-dependence."""

    advantage: float = Field(0.02, description="of the initial loss: what training on the real inputs has to gain")
    change: float = Field(1e-4, description="of the loss: what shuffled inputs have to change after training")
    least_blind: float = Field(
        0.1, description="of the initial loss: below it a constant prediction is good enough to fit"
    )
    dominance: float = Field(
        100.0, description="of the gradients of two terms of the loss: from here on the loss is the cause (LOS036)"
    )


@rule("TRN005", "ignores-input", level="error", since="0.1")
def check(
    dependence: InputDependence, overfit: OverfitRun, terms: LossTerms | None, graph: Graph, options: IgnoresInput
) -> Iterator[Finding]:
    """Training on inputs without information does as well as training on the real ones.

    ## What it does
    Trains for a few steps on the batch, and on one in which every sample has the same input (the mean of the batch). It is an
    error where the real inputs gain nothing, where the model that was trained on them does not mind having them shuffled among
    the samples, and where the overfit probe could not fit either; a warning where one term of the loss drowns another, which is
    the cause then (LOS036); an info where a network of the loss judges the outputs (the critic of an actor): it may want the same answer
    of all. Silent where a constant prediction is nearly as good as any
    (all targets alike), and skipped on batches of fewer than 8 samples, which can be memorized by a bias.

    ## Why is this bad?
    All such a model can learn is how frequent the labels are. The loss falls at first and looks like learning; the information
    is lost before the layers that need it: masked, multiplied by zero, overwritten, normalized away.

    ## Example
        keep = torch.rand(x.shape[:2]) > 75      # meant: 75 percent; masks everything in training

    ## Use instead
        keep = torch.rand(x.shape[:2]) > 0.75

    ## References
    - Karpathy: A Recipe for Training Neural Networks, 2019 ("input-independent baseline")
    """
    if overfit.verdict == "fit" or dependence.shuffled is None:
        return
    if overfit.blind_loss is not None and overfit.blind_loss < options.least_blind * overfit.initial_loss:
        raise Skip("a constant prediction is as good as any on this batch")
    gained = (dependence.blind - dependence.real) / max(abs(dependence.initial), 1e-12)
    changed = abs(dependence.shuffled - dependence.trained) / max(abs(dependence.trained), 1e-12)
    if not math.isfinite(gained + changed):
        raise Skip("the loss after the steps is not finite")
    if gained >= options.advantage or changed >= options.change:
        return
    drowned = terms is not None and any(
        terms.ratio(small, large) > options.dominance for small in terms.terms for large in terms.terms if small is not large
    )
    yield Finding(
        at=None,
        level=Level.INFO if _is_judged_by_a_network(graph) else Level.WARNING if drowned else None,
        message=f"after {dependence.steps} steps the loss is {dependence.real:.4g} with the real inputs and {dependence.blind:.4g} with "
        f"the same input for all {dependence.samples} samples (from {dependence.initial:.4g}), and shuffling the real inputs changes "
        f"it by {changed:.1g} (limit {options.change:g}): what is learned does not come from the input",
        evidence={
            "initial_loss": dependence.initial,
            "loss_real": dependence.real,
            "loss_blind": dependence.blind,
            "loss_shuffled": dependence.shuffled,
            "steps": dependence.steps,
            "samples": dependence.samples,
            "limit": options.change,
        },
        fix="look at what the layers before the first weights make of the input in training mode: masks, normalization, casts, "
        "a tensor overwritten or multiplied by zero",
    )


def _is_judged_by_a_network(graph: Graph) -> bool:
    """Whether layers of the loss score the outputs and no known loss compares anything with targets."""
    return not graph.loss_calls and any(op.in_loss and op.is_kind("linear-map") for op in graph.ops)
