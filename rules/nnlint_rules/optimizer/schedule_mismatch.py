"""OPT012: a learning-rate schedule that does not fit the training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Skip, rule

if TYPE_CHECKING:
    from nnlint import Declared, Optimizer, ScheduleInfo

#: Where a schedule says how long it is, and whether that is certainly counted in optimizer steps.
_LENGTHS = {
    "OneCycleLR": ("total_steps", True),
    "CosineAnnealingLR": ("T_max", False),
    "PolynomialLR": ("total_iters", False),
}


class ScheduleMismatch(Options):
    """No calibration: two lengths that the user gave are compared, with room for another count of epochs."""

    factor: float = Field(3.0, description="how many times shorter or longer than the planned steps")
    spent: float = Field(1e-3, description="share of the largest rate at which a decay counts as spent")
    low: float = Field(0.2, description="share of the largest rate that a few drops leave")
    early: float = Field(20.0, description="how many times shorter than the planned steps all drops are")
    vanished: float = Field(1e-6, description="share of the learning rate that counts as none")


@rule("OPT012", "schedule-mismatch", level="warning", since="0.1")
def check(optimizer: Optimizer, declared: Declared, options: ScheduleMismatch) -> Iterator[Finding]:
    """The scheduler ends the training at its first step, or long before or after the planned end.

    ## What it does
    Steps a twin of the scheduler: a rate that falls to zero at the first step, or that stays zero for 200 steps, is reported;
    so is a scheduler of another optimizer. With `planned_steps` given, a schedule whose own length is at least 3 times shorter
    (where it counts steps for certain) or 3 times longer than the training. With `interval="step"` (Lightning says so itself;
    `{"scheduler": scheduler, "interval": "step"}` does as well) every scheduler counts steps: a decay that takes the rate to a
    thousandth in less than a third of them is meant for epochs, and so are milestones that are all passed in a twentieth of them.
    Otherwise a decay may count epochs, and has to be as short in epochs, which are known where the data is a loader.

    ## Why is this bad?
    With a rate of zero nothing is learned from there on, without any error. A decay that is never reached leaves the model at
    its high learning rate.

    ## Example
        scheduler = LambdaLR(optimizer, lambda step: 1 - step // total)      # and total = 1
        scheduler = CosineAnnealingLR(optimizer, T_max=1)

    ## Use instead
        scheduler = LambdaLR(optimizer, lambda step: 1 - step / total)
        scheduler = CosineAnnealingLR(optimizer, T_max=planned_steps)

    ## References
    - PyTorch: `torch.optim.lr_scheduler`, how to adjust the learning rate
    """
    schedule = optimizer.scheduler
    if schedule is None:
        return
    fault = _fault(schedule, options) or _length_fault(schedule, declared, options) or _spent(schedule.rates, declared, options)
    if fault is None:
        if len(schedule.rates) < 2 and schedule.ended:
            raise Skip(f"the later learning rates are unknown: {schedule.ended}")
        return
    reason, fix = fault
    yield Finding(
        at=optimizer,
        message=f"{schedule.class_name} {reason}",
        evidence={
            "scheduler": schedule.class_name,
            "rates": list(schedule.rates[:5]),
            "planned_steps": declared.planned_steps,
        },
        fix=fix,
    )


def _fault(schedule: ScheduleInfo, options: ScheduleMismatch) -> tuple[str, str] | None:
    if schedule.matches is False:
        return (
            "drives another optimizer than the one given: its rate never changes",
            "construct the scheduler from the optimizer that trains, after the last time that one is constructed",
        )
    rates = schedule.rates
    if len(rates) > 1 and rates[0] > 0.0 and rates[1] <= options.vanished * rates[0]:
        return (
            f"takes the learning rate from {rates[0]:g} to {rates[1]:g} at its first step",
            "check its length and its factor (an integer division, gamma=0, a length of 1); it is stepped once for each epoch or batch",
        )
    if len(rates) > 100 and max(rates) == 0.0:
        return (
            f"keeps the learning rate at 0 for {len(rates) - 1} steps",
            "check the warm-up factor for an integer division, and its length",
        )
    return None


def _horizon(declared: Declared) -> tuple[float, str] | None:
    """How often the scheduler will be stepped at least, and the unit; None where its steps may be those of batches or of epochs."""
    planned = declared.planned_steps
    if planned is None:
        return None
    if declared.interval == "step":
        return planned, "steps"
    return (planned / declared.batches, "epochs") if declared.batches is not None else None


def _spent(rates: tuple[float, ...], declared: Declared, options: ScheduleMismatch) -> tuple[str, str] | None:
    """A decay in epochs that is stepped with every batch: the rate is spent, or falls for the last time, long before the end."""
    horizon = _horizon(declared)
    if horizon is None or not rates or rates[0] <= 0.0:
        return None
    planned, unit = horizon
    top = max(rates)
    last = next((step for step, rate in enumerate(rates) if rate <= options.spent * top), None)
    if last is None or last * options.factor >= planned:
        # Milestones: what is foreseen goes on far beyond the last of them, at a small part of the rate.
        last = next(step for step in range(len(rates)) if all(rate == rates[-1] for rate in rates[step:]))
        settled = len(rates) > 2 * last and rates[-1] <= options.low * top and last * options.early < planned
        if not settled:
            return None
    often = "step it once an epoch (Lightning: interval='epoch'), or multiply its lengths by the steps of an epoch"
    return (
        f"takes the learning rate from {top:g} to {rates[last]:.3g} within {last} of the {planned:.0f} planned {unit}",
        often if unit == "steps" else "let it last as long as the training, in the unit in which it is stepped",
    )


def _length_fault(schedule: ScheduleInfo, declared: Declared, options: ScheduleMismatch) -> tuple[str, str] | None:
    name, certain = _LENGTHS.get(schedule.class_name, ("", False))
    planned, length = declared.planned_steps, schedule.settings.get(name)
    if planned is None or not isinstance(length, (int, float)):
        return None
    horizon = (float(planned), "steps") if certain else _horizon(declared)
    fix = f"set {name} to the number of times the scheduler is stepped ({planned} if once for each optimizer step)"
    longest, unit = horizon if horizon is not None and declared.interval is not None else (float(planned), "steps")
    if length > options.factor * longest:
        return f"has {name}={length:g}, but the training takes {longest:.0f} {unit}: its end is never reached", fix
    # Shorter may mean that it is stepped once for each epoch; only OneCycleLR is always stepped once for each batch.
    if horizon is not None and length * options.factor < horizon[0]:
        after = "ends, and raises," if certain else "is over"
        return f"has {name}={length:g}, but the training takes {horizon[0]:.0f} {horizon[1]}: it {after} long before", fix
    return None
