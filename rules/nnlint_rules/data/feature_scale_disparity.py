"""DAT005: features of a table on scales that are worlds apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint_rules.data._inputs import routes

if TYPE_CHECKING:
    from nnlint import Batch, Graph


class FeatureScaleDisparity(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#features."""

    ratio: float = Field(1e3, description="largest over smallest standard deviation of a feature")
    samples: int = Field(16, description="samples needed to judge")


@rule("DAT005", "feature-scale-disparity", level="warning", since="0.1")
def check(batch: Batch, graph: Graph, options: FeatureScaleDisparity) -> Iterator[Finding]:
    """The features of a table differ in scale by more than a factor of 1000.

    ## What it does
    Compares the standard deviations of the columns of inputs of shape (N, F). Constant columns are left out, and so are tables
    that go through a norm or an arithmetic of the model first.

    ## Why is this bad?
    The largest features decide what the first layer sees; the others drown until its weights have grown by the same factor, which
    the learning rate (chosen for the largest) does not allow.

    ## Example
        x = torch.stack([age, income_in_cents, ratio], dim=1)

    ## Use instead
        x = (x - x_train.mean(0)) / x_train.std(0)          # each column by itself; heavy tails by log1p first

    ## References
    - LeCun, Bottou, Orr and Mueller: Efficient BackProp, 1998, section 4.3
    """
    batch.require_real()
    for route in routes(batch, graph):
        view = route.tensor
        if not view.is_floating or len(view.shape) != 2 or view.samples < options.samples or not route.feeds_layers:
            continue
        if view.shape[1] < 2 or not view.finite:
            continue
        deviations = view.tensor.double().std(0)
        varying = deviations[deviations > 0]
        if varying.numel() < 2 or float(varying.max() / varying.min()) <= options.ratio:
            continue
        largest, smallest = int(deviations.argmax()), int((deviations == varying.min()).nonzero()[0, 0])
        yield Finding(
            at=batch,
            message=f"the features of {view.name} differ in scale by {float(varying.max() / varying.min()):.1e} (limit "
            f"{options.ratio:g}): std {float(varying.max()):.3g} of feature {largest}, {float(varying.min()):.3g} of feature {smallest}",
            evidence={
                "input": view.name,
                "ratio": float(varying.max() / varying.min()),
                "limit": options.ratio,
                "largest": largest,
                "smallest": smallest,
            },
            fix="standardize each feature by its own mean and standard deviation over the training set",
            modules=tuple(dict.fromkeys(op.module_path for op in route.layers)),
        )
