"""STP008: gradients are clipped where it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Clip, Events


@rule("STP008", "clip-without-effect", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """Gradient clipping that does not reach the step.

    ## What it does
    Looks at what the clipped gradients hold, by value. Reports clipping that comes after the step (it only touches gradients that were
    applied already), before the backward (there is nothing to clip), of parameters that no optimizer steps, and clipping of
    gradients that are still multiplied by the gradient scaler.

    ## Why is this bad?
    The steps are as large as without clipping. With scaled gradients it is the other way round: a norm of 1 against gradients times
    65 536 makes every step tiny.

    ## Example
        loss.backward()
        optimizer.step()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    ## Use instead
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    ## References
    - PyTorch: `torch.nn.utils.clip_grad_norm_`; "Automatic mixed precision examples", "Gradient clipping"
    """
    clips = [clip for clip in events.clips if clip.how != "noticed"]
    if not clips:
        raise Skip("gradients were not clipped")
    for location in dict.fromkeys(clip.location for clip in clips):
        here = [clip for clip in clips if clip.location == location]
        reasons = [reason for clip in here if (reason := _why(events, clip)) is not None]
        if len(reasons) < 2 or 2 * len(reasons) < len(here):
            continue
        what, fix = reasons[-1]
        step = next((step for step in events.steps if step.index > here[0].index), None)
        yield Finding(
            at=at(here[0]),
            message=f"clipping has no effect in {len(reasons)} of {len(here)} calls: {what}"
            + (f" ({events.order(here[0], step)})" if step is not None else ""),
            evidence={"calls": len(reasons), "of": len(here), "limit": here[0].limit},
            fix=fix,
        )


def _why(events: Events, clip: Clip) -> tuple[str, str] | None:
    between = "clip between `backward()` and `step()`"
    stepped = frozenset().union(*(facts.parameters for facts in events.optimizers.values()))
    if clip.scale is not None and clip.scale != 1.0:
        return (
            f"the gradients are still multiplied by {clip.scale:g}",
            "call `scaler.unscale_(optimizer)` before clipping",
        )
    if stepped and not clip.parameters & stepped:
        return "no optimizer steps the clipped parameters", "clip the parameters of the model that is trained"
    held = {index for name, indices in clip.held.items() if not stepped or name in stepped for index in indices}
    if not held:
        later = [event for event in events.backwards if event.index > clip.index]
        return ("it comes before the backward", between) if later else None
    applied = {index for step in events.steps if step.index < clip.index for index in step.backwards}
    return ("it comes after the step that applied these gradients", between) if held <= applied else None
