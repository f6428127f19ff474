"""STP009: float16 without its gradient scaler, or with one that is used wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Place, ScalerCall, Skip, rule
from nnlint_rules.step._steps import at, named

if TYPE_CHECKING:
    from nnlint import Events


@rule("STP009", "unscaled-mixed-precision", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """Mixed precision in float16 whose gradients are not scaled as they must be.

    ## What it does
    Reports float16 autocast without a gradient scaler (with the measured share of gradients that are exactly zero), a scaled
    loss whose gradients the bare optimizer applies, a scaler that is recreated repeatedly, and one whose `update()` is never
    called. A backward inside autocast is an info. bfloat16 needs no scaler.

    ## Why is this bad?
    Gradients below 6e-8 round to zero in float16. Scaled gradients that are not divided again make steps 65 536 times too
    large. A new scaler forgets the factor that it had found, and skips steps to find it again.

    ## Example
        with torch.autocast("cuda", dtype=torch.float16):
            loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()

    ## Use instead
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    ## References
    - PyTorch: "Automatic mixed precision examples"
    """
    calls = events.of(ScalerCall)
    if not calls and not any(forward.autocast for forward in events.training_forwards):
        raise Skip("no mixed precision was used")
    yield from _missing_scaler(events)
    yield from _bare_step(events)
    yield from _misused(events, calls)
    inside = [backward for backward in events.backwards if backward.autocast]
    if inside:
        yield Finding(
            at=at(inside[0]),
            level=Level.INFO,
            message="backward runs inside autocast: its operations get the types of the forward anyway",
            evidence={"backwards": len(inside)},
            fix="end the autocast block before `backward()`",
        )


def _missing_scaler(events: Events) -> Iterator[Finding]:
    half = [forward for forward in events.training_forwards if forward.autocast == "float16"]
    backwards = [event for event in events.backwards if any(forward.index in event.forwards for forward in half)]
    if not backwards or any(event.scale is not None for event in backwards):
        return
    shares = [event.zero_share for event in backwards if event.zero_share is not None]
    lost = f"; {max(shares):.1%} of the gradients are exactly zero" if shares else ""
    yield Finding(
        at=at(backwards[0]),
        message=f"float16 autocast without a gradient scaler in {len(backwards)} backwards: small gradients round to zero{lost}",
        evidence={"backwards": len(backwards), "zero_share": max(shares, default=None)},
        fix="use `torch.amp.GradScaler`: `scaler.scale(loss).backward()`, `scaler.step(optimizer)`, `scaler.update()`; or bfloat16",
    )


def _bare_step(events: Events) -> Iterator[Finding]:
    for name, optimizer in events.optimizers.items():
        scaled = [step for step in events.steps_of(name) if step.scale is not None and step.scale != 1.0]
        by_scaler = [call for call in events.scaler_calls_of(name) if call.call == "step"]
        if len(scaled) < (1 if _raised_by_scaler(events) else 2) or by_scaler:
            continue
        yield Finding(
            at=at(scaled[-1]),
            level=Level.ERROR,
            message=f"{named(optimizer)} steps with gradients that are still multiplied by {scaled[-1].scale:g}, in {len(scaled)} steps",
            evidence={"scale": scaled[-1].scale, "steps": len(scaled), **_raised(events.of(ScalerCall))},
            fix=f"replace `{name}.step()` by `scaler.step({name})` and `scaler.update()`",
        )


def _raised(calls: tuple[ScalerCall, ...]) -> dict[str, str]:
    """What the scaler raised: the script's end has this cause then."""
    errors = [" ".join(call.error.split()) for call in calls if call.error]
    return {"raised": errors[-1]} if errors else {}


def _raised_by_scaler(events: Events) -> bool:
    """Whether `scaler.update()` found that no step went through the scaler."""
    return any(call.call == "update" and call.error for call in events.of(ScalerCall))


def _misused(events: Events, calls: tuple[ScalerCall, ...]) -> Iterator[Finding]:
    made = [facts for facts in events.scalers.values() if facts.enabled]
    for location in dict.fromkeys(facts.location for facts in made):
        here = [facts for facts in made if facts.location == location]
        if len(here) >= 2:
            yield Finding(
                at=Place("", location),
                message=f"the gradient scaler is recreated {len(here)} times: it forgets its scale factor",
                evidence={"made": len(here)},
                fix="make the scaler once, before the training loop",
            )
    steps = [call for call in calls if call.call == "step"]
    if (
        steps
        and not any(call.call == "update" for call in calls)
        and "inf checks" not in (steps[-1].error or "")  # no gradient came to the optimizer: another rule says why
        and (len(steps) > 1 or steps[-1].error or events.end.error)
    ):
        yield Finding(
            at=at(steps[-1]),
            level=Level.ERROR,
            message="`scaler.update()` is never called: the scaler raises at the second step, or keeps a factor that overflows",
            evidence={"steps": len(steps), "updates": 0, **_raised(calls)},
            fix="call `scaler.update()` once after the steps of each iteration",
        )
