"""GRD005: gradient norms with rare, large spikes."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import quantiles
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Skip, rule

if TYPE_CHECKING:
    from nnlint import BackwardStats, StepStats


class ClipGradient(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#steps."""

    spike: float = Field(5.0, description="largest norm over the median of those before it")
    min_steps: int = Field(10, description="norms that have to be there to judge their distribution")


@rule("GRD005", "clip-gradient", level="info", since="0.1")
def check(backward: BackwardStats, steps: StepStats, options: ClipGradient) -> Iterator[Finding]:
    """The norm of the gradient jumps within the first steps: clipping would help.

    ## What it does
    Looks at the norm of the whole gradient before each of the first updates (10 or more: small models). Where one is more than
    5 times the median of those before it (without those below a thousandth of the first: the batch was learned), proposes the
    90th percentile as `max_norm`. A training that ends in NaN is another rule's (diverges): no norm to clip to can be read off it.

    ## Why is this bad?
    One such step moves the weights further than all steps around it together. Recurrent nets and nets on the edge of their
    learning rate do that again and again; clipping keeps the direction and bounds the length.

    ## Example
        loss.backward()
        optimizer.step()

    ## Use instead
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()

    ## References
    - Pascanu, Mikolov and Bengio: On the difficulty of training recurrent neural networks, 2013, arXiv:1211.5063
    - Google tuning playbook: clip at the 90th percentile of the gradient norm
    """
    backward.require_loss()
    steps.require_own_optimizer()
    norms = steps.gradient_norms
    if steps.non_finite_step is not None:
        return
    if len(norms) < options.min_steps:
        raise Skip(f"needs {options.min_steps} gradient norms, got {len(norms)}")
    spike = steps.gradient_spike
    if spike is None or spike[1] <= options.spike:
        return
    worst, ratio = spike
    proposed = quantiles(norms, n=10, method="inclusive")[-1]
    yield Finding(
        at=None,
        message=f"the gradient norm jumps to {norms[worst]:.3g} at step {worst + 1}, {ratio:.1f} times the median before it "
        f"(limit {options.spike:g}); 90 % of the {len(norms)} steps stay below {proposed:.3g}",
        evidence={"norms": [*norms], "spike": ratio, "limit": options.spike, "max_norm": proposed},
        fix=f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={proposed:.2g}) between backward and step",
    )
