"""GRD001: the gradient decays from layer to layer on its way to the input."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint_rules.gradient._flow import chain_evidence, gradient_chains, norms_text

if TYPE_CHECKING:
    from nnlint import BackwardStats


class VanishingGradient(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#gradient-decay."""

    total: float = Field(1e-4, description="gradient at the first layer over that at the last")
    blocks: int = Field(4, description="layers over which the gradient has to shrink")
    steps: float = Field(0.75, description="share of the steps that have to shrink the gradient")


@rule("GRD001", "vanishing-gradient", level="warning", since="0.1")
def check(backward: BackwardStats, options: VanishingGradient) -> Iterator[Finding]:
    """The gradient with respect to the activations decays geometrically toward the input.

    ## What it does
    Follows the norm of the gradient with respect to each layer's output from the loss back to the input, along the path that
    carries most of it (through residual sums, beside branches that start at zero). Reported is a decay over at least 4 layers
    that most of the steps take part in and that leaves less than 1e-4 of the gradient; one layer that starts at almost zero is no
    decay. The ratio of the first and last weight
    gradient is not used: it is small in many healthy nets, and near 1 in nets whose signal has died in both directions.

    ## Why is this bad?
    The layers near the input hardly learn while those near the output do, so the net trains as if its first layers were
    random and fixed.

    ## Example
        for layer in self.layers:            # 20 layers, neither norm nor skip connection, default initialization
            x = F.relu(layer(x))

    ## Use instead
        for layer, norm in zip(self.layers, self.norms):
            x = x + F.relu(layer(norm(x)))

    ## References
    - Bengio, Simard and Frasconi: Learning long-term dependencies with gradient descent is difficult, 1994
    - He, Zhang, Ren and Sun: Deep Residual Learning for Image Recognition, 2016, arXiv:1512.03385
    """
    for chain in gradient_chains(backward):
        if len(chain.links) < options.blocks or chain.first.value >= options.total * chain.last.value:
            continue
        # From the input's side a decaying gradient grows toward the output.
        if chain.share(lambda factor: factor > 1.0) < options.steps or median(chain.factors) <= 1.0:
            continue
        if chain.is_of_one_step:
            continue
        ratio = chain.first.value / chain.last.value
        yield Finding(
            at=chain.first.op,
            message=f"the gradient falls to {ratio:.1e} of its size on the way from {chain.last.op.label} back to "
            f"{chain.first.op.label}, a factor of {1.0 / chain.rate:.2g} per layer over {len(chain.links)} layers "
            f"(limit {options.total:g}): {norms_text(chain)}",
            evidence=chain_evidence(chain, options.total),
            fix="add skip connections or norms between the layers, use ReLU-like activations with He initialization, and look "
            "for factors below 1 that scale the gradient",
            modules=chain.paths,
        )
        return
