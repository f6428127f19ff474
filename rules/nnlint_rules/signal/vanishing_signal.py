"""SIG004: the scale of the activations decays through depth."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint_rules._shared.depth import Chain
from nnlint_rules.signal._scale import finite_part, scale_chains, scale_evidence, up_to

if TYPE_CHECKING:
    from nnlint import ForwardStats


class VanishingSignal(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#signal-rates."""

    rate: float = Field(0.6, description="factor per layer below which the signal vanishes")
    layers: int = Field(8, description="layers over which the rate is judged")
    total: float = Field(
        1e-4, description="last over first, enough by itself over 4 layers that each shrink the signal"
    )


@rule("SIG004", "vanishing-signal", level="warning", since="0.1")
def check(forward: ForwardStats, options: VanishingSignal) -> Iterator[Finding]:
    """The scale of the pre-activations shrinks geometrically from layer to layer.

    ## What it does
    Follows the standard deviation of pre-activations along linear layers, convolutions and residual sums that no norm
    separates, and reports a chain of 8 layers or more with a factor below 0.6 per layer, or one whose last layer has less than
    1e-4 of the first one's scale. Where a residual stream and a branch meet, the larger of the two is followed, so branches
    that start at zero (LayerScale, zero-initialized gammas) do not count. A last layer that is exactly zero is an
    initialization, not a decay.

    ## Why is this bad?
    The output hardly depends on the input any more: what is left is the biases and rounding. Gradients with respect to the
    weights shrink with the activations that they are products of.

    ## Example
        x = 0.1 * F.relu(layer(x))           # in each of 12 layers, without a skip connection

    ## Use instead
        x = F.relu(norm(layer(x)))           # or He initialization: a factor near 1 per layer

    ## References
    - He, Zhang, Ren and Sun: Delving Deep into Rectifiers, 2015, arXiv:1502.01852, section 2.2
    - Schoenholz, Gilmer, Ganguli and Sohl-Dickstein: Deep Information Propagation, 2017, arXiv:1611.01232
    """
    for whole in scale_chains(forward):
        chain = _up_to_last_layer(up_to(finite_part(whole), min))
        if len(chain.links) < 4 or not _vanishes(chain, options):
            continue
        first, last = chain.first, chain.last
        yield Finding(
            at=last.op,
            message=f"the scale of the signal falls from {first.value:.3g} at {first.op.label} to {last.value:.3g} at "
            f"{last.op.label}: a factor of {chain.rate:.2f} per layer over {len(chain.links)} layers (limit {options.rate})",
            evidence=scale_evidence(chain, rate=options.rate, total=options.total),
            fix="initialize for the activation that follows (He for ReLU: std sqrt(2 / fan_in)), drop factors below 1 between "
            "the layers, or put a norm after each layer",
            modules=chain.paths,
        )


def _up_to_last_layer(chain: Chain) -> Chain:
    """The chain up to its last linear map: sums after it add up the answer, in the unit that the answer has."""
    last = max((place for place, link in enumerate(chain.links) if link.op.is_kind("linear-map")), default=-1)
    return Chain(chain.links[: last + 1])


def _vanishes(chain: Chain, options: VanishingSignal) -> bool:
    # One small layer is its own initialization's matter; a decay shows in most steps.
    if len(chain.links) >= options.layers and _rate_of_others(chain) < options.rate:
        return True
    return chain.total < options.total and median(chain.factors) < options.rate and not chain.is_of_one_step


def _rate_of_others(chain: Chain) -> float:
    """The factor per layer without the smallest: that of a layer which starts at almost zero is not shared by the others."""
    return float((chain.total / min(chain.factors)) ** (1.0 / (len(chain.links) - 1)))
