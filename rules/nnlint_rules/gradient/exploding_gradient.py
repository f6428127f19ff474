"""GRD002: the gradient grows from layer to layer on its way to the input."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint_rules.gradient._flow import chain_evidence, gradient_chains, norms_text

if TYPE_CHECKING:
    from nnlint import BackwardStats


class ExplodingGradient(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#gradient-decay."""

    total: float = Field(1e4, description="gradient at the first layer over that at the last")
    blocks: int = Field(4, description="layers over which the gradient has to grow")
    steps: float = Field(0.75, description="share of the steps that have to enlarge the gradient")


@rule("GRD002", "exploding-gradient", level="warning", since="0.1")
def check(backward: BackwardStats, options: ExplodingGradient) -> Iterator[Finding]:
    """The gradient with respect to the activations grows geometrically toward the input.

    ## What it does
    Follows the norm of the gradient with respect to each layer's output from the loss back to the input, along the path that
    carries most of it. Reported is a growth over at least 4 layers that most of the steps take part in and that makes the
    gradient more than 1e4 times larger.

    ## Why is this bad?
    No learning rate suits all layers: one that the first layers survive leaves the last ones unmoved. In deep nets with batch
    norm and without skip connections this happens although every activation looks well scaled.

    ## Example
        for layer, norm in zip(self.layers, self.norms):      # 60 layers with batch norm
            x = F.relu(norm(layer(x)))

    ## Use instead
        for layer, norm in zip(self.layers, self.norms):
            x = x + F.relu(norm(layer(x)))

    ## References
    - Yang, Pennington, Rao, Sohl-Dickstein and Schoenholz: A Mean Field Theory of Batch Normalization, 2019, arXiv:1902.08129
    - Pascanu, Mikolov and Bengio: On the difficulty of training recurrent neural networks, 2013, arXiv:1211.5063
    """
    for chain in gradient_chains(backward):
        if len(chain.links) < options.blocks or chain.first.value <= options.total * chain.last.value:
            continue
        if chain.share(lambda factor: factor < 1.0) < options.steps or median(chain.factors) >= 1.0:
            continue
        ratio = chain.first.value / chain.last.value
        yield Finding(
            at=chain.first.op,
            message=f"the gradient grows {ratio:.1e} times on the way from {chain.last.op.label} back to {chain.first.op.label}, "
            f"a factor of {1.0 / chain.rate:.2g} per layer over {len(chain.links)} layers (limit {options.total:g}): {norms_text(chain)}",
            evidence=chain_evidence(chain, options.total),
            fix="add skip connections, use smaller weights between saturating or normalized layers, and clip the gradient "
            "(torch.nn.utils.clip_grad_norm_) until then",
            modules=chain.paths,
        )
        return
