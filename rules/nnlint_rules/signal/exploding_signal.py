"""SIG005: the scale of the activations grows through depth."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules._shared.depth import Chain, is_residual
from nnlint_rules.signal._scale import finite_part, scale_chains, scale_evidence, up_to

if TYPE_CHECKING:
    from nnlint import ForwardStats


class ExplodingSignal(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#signal-rates."""

    rate: float = Field(1.7, description="factor per layer above which the signal explodes")
    layers: int = Field(8, description="layers over which the rate is judged")
    total: float = Field(1e4, description="last over first, enough by itself over 4 layers")
    fatal_total: float = Field(1e6, description="from here on an error")


_ORDER_ONE = 1.0


@rule("SIG005", "exploding-signal", level="warning", since="0.1")
def check(forward: ForwardStats, options: ExplodingSignal) -> Iterator[Finding]:
    """The scale of the pre-activations grows geometrically from layer to layer.

    ## What it does
    Follows the standard deviation of pre-activations along linear layers, convolutions and residual sums that no norm
    separates, and reports a chain of 8 layers or more with a factor above 1.7 per layer, or one whose last layer has more than
    1e4 times the first one's scale. Growth beyond 1e6, or to NaN and Inf, is an error. A residual stream that grows and then
    goes through a norm is as it should be (pre-norm transformers) and is not reported, nor is a small signal that comes up to
    order one.

    ## Why is this bad?
    Logits, loss and gradients grow by the same factor: the first update is far too large for any usual learning rate, and half
    precision overflows.

    ## Example
        x = x + self.conv2(F.relu(self.conv1(x)))          # 30 blocks, no norm anywhere

    ## Use instead
        x = x + self.conv2(F.relu(self.conv1(self.norm(x))))   # and a norm after the last block

    ## References
    - He, Zhang, Ren and Sun: Delving Deep into Rectifiers, 2015, arXiv:1502.01852
    - Zhang, Dauphin and Ma: Fixup Initialization, 2019, arXiv:1901.09321 (growth of unnormalized residual networks)
    """
    for whole in scale_chains(forward):
        finite = finite_part(whole)
        # Scores with an added mask of -inf are not finite either; only what spoils the pass is an overflow.
        overflows = (
            forward.non_finite is not None
            and len(finite.links) < len(whole.links)
            and whole.links[len(finite.links)].value == float("inf")
        )
        chain = up_to(finite, max)
        if (
            len(chain.links) < 3
            or not _explodes(chain, options, overflows=overflows)
            or _normalized_later(whole, forward)
        ):
            continue
        first, last = chain.first, chain.last
        grave = overflows or chain.total > options.fatal_total
        beyond = ", and is not finite after it" if overflows else ""
        yield Finding(
            at=last.op,
            level=Level.ERROR if grave else None,
            message=f"the scale of the signal grows from {first.value:.3g} at {first.op.label} to {last.value:.3g} at "
            f"{last.op.label}{beyond}: a factor of {chain.rate:.2f} per layer over {len(chain.links)} layers (limit {options.rate})",
            evidence={**scale_evidence(chain, rate=options.rate, total=options.total), "overflows": overflows},
            fix="initialize for the activation that follows (He for ReLU: std sqrt(2 / fan_in)), put a norm into each block, or "
            "start residual branches at zero (the last weight of the branch, or a learned factor of 0)",
            modules=whole.paths,
        )


def _explodes(chain: Chain, options: ExplodingSignal, *, overflows: bool) -> bool:
    if chain.last.value <= _ORDER_ONE and not overflows:
        return False
    if chain.rate > options.rate and (len(chain.links) >= options.layers or overflows):
        return True
    return len(chain.links) >= 4 and chain.total > options.total and median(chain.factors) > 1.0


def _normalized_later(chain: Chain, forward: ForwardStats) -> bool:
    """Whether the chain is a residual stream that a norm takes up."""
    if not any(is_residual(link.op) for link in chain.links):
        return False
    return forward.graph.precedes(chain.last.op, "norm")
