"""SIG006: the samples of a batch become one and the same before the head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, Skip, rule

if TYPE_CHECKING:
    from nnlint import ForwardStats, LayerStats, OverfitRun


class CollapsedFeatures(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#overfit."""

    spread: float = Field(
        0.005, description="std over samples by the std of all values; healthy deep nets go down to 0.03"
    )
    left: float = Field(0.5, description="share of the reachable improvement that the overfit probe has to leave")
    progress: float = Field(0.1, description="fall of a loss whose lowest value is unknown, from which on it is an info")
    min_samples: int = Field(4, description="with fewer samples the spread says little")


@rule("SIG006", "collapsed-features", level="warning", since="0.1")
def check(forward: ForwardStats, overfit: OverfitRun, options: CollapsedFeatures) -> Iterator[Finding]:
    """Different samples have the same features, and the model does not learn to tell them apart.

    ## What it does
    Compares, for the last layers, how far the values of a unit differ between samples with how far all values of the layer
    differ. A layer where that ratio is below 0.005 passes on a constant. Many deep nets look nearly like that before training
    and still learn, so the finding needs the overfit probe too: it must not have come halfway. It is an info where that probe proves
    nothing (the lowest value of the loss is not known, or the loss is random) and the loss falls by a tenth.

    ## Why is this bad?
    Whatever comes after sees one input for all samples. Saturating activations, averages over averages and unnormalized depth
    make features collapse; the gradient that would pull them apart is as small as their difference.

    ## Example
        for _ in range(32):
            x = adjacency @ x                    # every node becomes the mean of all

    ## Use instead
        for layer in self.layers:
            x = x + torch.relu(layer(adjacency @ norm(x)))

    ## References
    - Poole et al.: Exponential expressivity in deep neural networks through transient chaos, 2016, arXiv:1606.05340
    - Li, Han and Wu: Deeper Insights into Graph Convolutional Networks, 2018, arXiv:1801.07606
    """
    if forward.samples < options.min_samples:
        raise Skip(f"needs {options.min_samples} samples, got {forward.samples}")
    if overfit.verdict == "fit" or overfit.left <= options.left:
        return
    layer = _last_features(forward, options.spread)
    if layer is None or layer.sample_spread is None:
        return
    yield Finding(
        at=layer,
        level=Level.INFO if overfit.limits and overfit.best_loss < (1 - options.progress) * overfit.initial_loss else None,
        message=f"the values of {layer.label} differ between samples by {layer.sample_spread:.1e} of their spread "
        f"(limit {options.spread:g}): all {forward.samples} samples look alike from there on; {overfit.in_words}",
        evidence={
            "sample_spread": layer.sample_spread,
            "limit": options.spread,
            "samples": forward.samples,
            "overfit": overfit.verdict,
            "loss": overfit.best_loss,
        },
        fix="look upstream for what averages the samples' differences away: saturating activations, repeated averaging, a large "
        "constant added to small features; normalize the features or add skip connections",
    )


def _last_features(forward: ForwardStats, spread: float) -> LayerStats | None:
    """The first of the layers up to the output from which on every layer that was compared is collapsed."""
    compared = [layer for layer in forward.layers if layer.sample_spread is not None and not layer.op.in_loss]
    collapsed: LayerStats | None = None
    for layer in reversed(compared):
        if layer.sample_spread is None or layer.sample_spread >= spread:
            break
        collapsed = layer
    return collapsed
