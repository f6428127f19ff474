"""STP024: a schedule by factors is given rates."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Place, Skip, rule

if TYPE_CHECKING:
    from nnlint import Events


class RateFactorAbsolute(Options):
    """Thresholds. No calibration: a factor equals the rate exactly, or it is a factor."""

    tolerance: float = Field(1e-3, description="relative difference of factor and base rate that counts as equal")
    largest: float = Field(0.5, description="base rate up to which an equal factor is no accident")


@rule("STP024", "rate-factor-absolute", level="warning", since="0.1")
def check(events: Events, options: RateFactorAbsolute) -> Iterator[Finding]:
    """A schedule that multiplies the base rate is given the rate itself.

    ## What it does
    Evaluates the functions of `LambdaLR` and its like at their first positions. Reports one whose largest factor is the base rate of
    its group, and one whose first factor is and whose factors do not rise.

    ## Why is this bad?
    `LambdaLR` multiplies: a function that returns 0.001 on a base rate of 0.001 trains at 0.000001. The loss hardly moves.

    ## Example
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        scheduler = LambdaLR(optimizer, lambda epoch: 1e-3 * 0.95**epoch)

    ## Use instead
        scheduler = LambdaLR(optimizer, lambda epoch: 0.95**epoch)

    ## References
    - PyTorch: `torch.optim.lr_scheduler.LambdaLR`
    """
    given = [scheduler for scheduler in events.schedulers.values() if any(scheduler.factors)]
    if not given:
        raise Skip("no scheduler was given functions")
    for scheduler in given:
        for base, factors, peak in zip(scheduler.base_lrs, scheduler.factors, scheduler.peaks, strict=False):
            falls = all(two <= one for one, two in pairwise(factors))
            if not factors or not 0 < base <= options.largest:
                continue
            factor = factors[0] if falls else peak
            if abs(factor - base) <= options.tolerance * base:
                steps = events.steps_of(scheduler.optimizer or "")
                rate = base * factor if not falls or not steps or not steps[0].lr else steps[0].lr[0]
                yield Finding(
                    at=Place("", scheduler.location),
                    message=f"{scheduler.name} ({scheduler.type}) multiplies the base rate {base:g} by a factor of {factor:g}, "
                    f"the rate itself: the {'first step' if falls else 'peak of the schedule'} runs at {rate:.3g}",
                    evidence={"base": base, "factor": factor, "rate": rate},
                    fix=f"return a factor: divide the function's value by {base:g}",
                )
                break
