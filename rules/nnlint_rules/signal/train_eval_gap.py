"""SIG010: training and evaluation mode compute different functions, beyond dropout and batch statistics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule

if TYPE_CHECKING:
    from nnlint import Declared, EvalStats


class TrainEvalGap(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#independence."""

    size: float = Field(
        0.3, description="largest accepted difference, in standard deviations of the evaluation outputs"
    )
    noise: float = Field(0.8, description="least ratio of the mean difference to the noise of a single training pass")


@rule("SIG010", "train-eval-gap", level="warning", since="0.1")
def check(evaluation: EvalStats, declared: Declared, options: TrainEvalGap) -> Iterator[Finding]:
    """The model computes one thing in training mode and another in evaluation mode.

    ## What it does
    Runs the model in training mode with every dropout off and every running statistic fixed, and compares with evaluation
    mode. Both should agree. Where training is random beyond dropout (stochastic depth, noise, a sampled latent), the mean
    of 8 runs is compared, and must differ by more than 0.8 times that noise. A difference above 0.3 standard deviations of
    the outputs is reported, with the first operation that differs. Outputs of other shapes, and an evaluation-only squashing
    of the outputs (softmax, sigmoid), are no reason. Where one mode makes other operations than the other, or noise replaces
    values (masked training) or is added to them (a sampled latent) instead of scaling them, somebody wrote that on purpose: an
    info. `declared={"stochastic"}`
    silences the rule.

    ## Why is this bad?
    The weights are fitted to the training function and used with another one. Hand-written dropout without 1/(1 - p), a
    temperature or a scale that differs between the modes, and a layer skipped under `if self.training` do that; the
    validation score is bad from the start and no amount of training repairs it.

    ## Example
        if self.training:
            x = x * (torch.rand_like(x) > 0.5)              # twice as large in evaluation

    ## Use instead
        if self.training:
            x = x * (torch.rand_like(x) > 0.5) / 0.5

    ## References
    - Srivastava et al.: Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 2014, section 10
    - https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html
    """
    if "stochastic" in declared.traits:
        return
    gap = evaluation.gap
    if gap is None or gap.squashed or gap.size <= options.size or gap.size <= options.noise * gap.noise:
        return
    noise = f", {gap.size / gap.noise:.1f} times the noise of a training pass" if gap.noise else ""
    start = f"; they part at {gap.op.label}" if gap.op is not None else ""
    yield Finding(
        at=gap.op,
        level=Level.INFO if gap.deliberate else None,
        message=f"training and evaluation mode differ by {gap.size:.2g} standard deviations of the output (limit "
        f"{options.size:g}){noise}, with dropout off and batch statistics fixed in both{start}",
        evidence={"gap": gap.size, "limit": options.size, "noise": gap.noise},
        fix="look at what depends on self.training: whatever it scales or drops in one mode has to keep its mean in the other",
        confidence="low" if gap.deliberate else "medium" if gap.noise else "high",
    )
