"""TRN002: the first steps make the loss worse, or no number at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, Place, rule
from nnlint_rules._shared.words import counted

if TYPE_CHECKING:
    from nnlint import Evidence, StepStats


class Diverges(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#steps."""

    rise: float = Field(3.0, description="last loss over the first (or over the loss of chance): a warning")
    fatal_rise: float = Field(10.0, description="from here on an error")


@rule("TRN002", "diverges", level="error", since="0.1")
def check(steps: StepStats, options: Diverges) -> Iterator[Finding]:
    """The loss explodes or becomes NaN within the first steps of the training as configured.

    ## What it does
    Makes a few updates (2 for a large model, up to 20 for a small one) with the given optimizer on the sample batch. NaN or Inf
    in the loss is an error and names the operation that made it; so is a last loss of 10 times the first. From 3 times on it is
    a warning.

    ## Why is this bad?
    On the very batch it is trained on, the loss has to fall. One non-finite update makes every weight NaN, and nothing that
    comes after can repair them.

    ## Example
        sigma = torch.log(self.scale)            # a parameter: below zero after a few updates

    ## Use instead
        sigma = self.log_scale

    ## References
    - Google tuning playbook, "How can optimization failures be debugged and mitigated?"
    - PyTorch: `torch.autograd.set_detect_anomaly`
    """
    steps.require_own_optimizer()
    configured = f"{steps.optimizer}" + (f", lr {steps.learning_rate:g}" if steps.learning_rate is not None else "")
    evidence: dict[str, Evidence] = {
        "losses": list(steps.losses),
        "optimizer": steps.optimizer,
        "lr": steps.learning_rate,
    }
    if steps.non_finite_step is not None:
        at = f", first in {steps.non_finite_at}" if steps.non_finite_at else ""
        yield Finding(
            at=Place(steps.non_finite_module, steps.non_finite_location),
            message=f"the loss becomes NaN or infinite after {counted(steps.non_finite_step, 'update')} ({configured}){at}; "
            f"it was {steps.losses[0]:.4g} before the first",
            evidence={**evidence, "non_finite_after": steps.non_finite_step},
            fix="keep the operation's input in its domain, lower the learning rate, scale inputs and targets to order one, or clip "
            "the gradient (torch.nn.utils.clip_grad_norm_)",
        )
    elif steps.rise >= options.rise:
        yield Finding(
            at=steps,
            level=None if steps.rise >= options.fatal_rise else Level.WARNING,
            message=f"the loss on the batch rises from {steps.losses[0]:.4g} to {steps.losses[-1]:.4g} in {counted(steps.steps, 'update')} "
            f"({configured}; limit {options.rise:g} times)",
            evidence={**evidence, "rise": steps.rise, "limit": options.rise},
            fix="lower the learning rate or warm it up, scale inputs and targets to order one, or clip the gradient",
        )
