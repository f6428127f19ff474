"""STP021: the loss is multiplied or divided by the batch size on top of its reduction."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, log10
from typing import TYPE_CHECKING

from nnlint import Finding, Forward, Skip, rule
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Backward, Events

#: Batch sizes up to which an equal factor may be a weight.
_SMALL = 10


@rule("STP021", "loss-weighted-twice", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """The batch's loss is multiplied or divided by the batch size on top of the reduction.

    ## What it does
    Reads the numbers that the loss was multiplied with last from its graph. Reports a mean that is divided or multiplied by the
    number of samples of the forward, and a sum that is multiplied by it. The division of a sum, a division by the number of
    accumulated backwards, and products that are only logged are not reported. A factor that could as well be a weight (a small batch, a
    power of ten) has to follow a changing batch size.

    ## Why is this bad?
    `cross_entropy` divides by the batch size already. Divided again, the gradient is 64 times too small for a batch of 64;
    multiplied, the learning rate depends on the batch size.

    ## Example
        loss = F.cross_entropy(model(x), y) / x.size(0)
        loss.backward()

    ## Use instead
        loss = F.cross_entropy(model(x), y)
        loss.backward()

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss`, argument `reduction`
    """
    used = [event for event in events.backwards if event.index in events.used_backwards and event.reduction]
    if not used:
        raise Skip("no loss with a known reduction was seen")
    lines: dict[object, list[tuple[Backward, int, float]]] = {}
    for event in used:
        samples, factor = _samples(events, event), _factor(events, event)
        if samples > 1 and factor is not None:
            lines.setdefault(event.location, []).append((event, samples, factor))
    for found in lines.values():
        hits = [item for item in found if _is_size(*item)]
        sizes = {samples for _, samples, _ in hits}
        if len(hits) < len(found) or not hits or (len(sizes) == 1 and _may_be_weight(*hits[0][1:])):
            continue
        event, samples, factor = hits[-1]
        does = "divided" if factor < 1 else "multiplied"
        yield Finding(
            at=at(event),
            message=f"the {event.reduction} of the batch is {does} by the batch size {samples} ({len(hits)} of {len(used)} "
            "backwards)",
            evidence={"factor": factor, "samples": samples, "backwards": len(hits)},
            fix=f"leave the {'division' if factor < 1 else 'multiplication'} out; weight by the batch size only what is logged",
        )


def _samples(events: Events, backward: Backward) -> int:
    """Samples of the forward, where all that the loss reaches agree; a hidden state (layers, batch, ...) has one layer first."""
    found = {event.samples for event in events.at(backward.forwards) if isinstance(event, Forward)} - {1}
    return found.pop() if len(found) == 1 else 0


def _factor(events: Events, backward: Backward) -> float | None:
    """The numbers before the reduction, without the averaging of an accumulation and without the scaler's."""
    steps = [step for step in events.steps if backward.index in step.backwards]
    window = max((len(step.backwards) for step in steps), default=1)
    factors = [
        f
        for f in backward.factors
        if not isclose(f, backward.scale or 0.0) and not (window > 1 and isclose(f, 1 / window))
    ]
    return factors[0] if len(factors) == 1 else None


def _is_size(backward: Backward, samples: int, factor: float) -> bool:
    multiplied = isclose(factor, samples, rel_tol=1e-5)
    return multiplied or (backward.reduction == "mean" and isclose(factor, 1 / samples, rel_tol=1e-5))


def _may_be_weight(samples: int, factor: float) -> bool:
    """Whether the number is one that people choose: a small one, or a power of ten."""
    return (factor < 1 and samples <= _SMALL) or samples < 4 or log10(samples).is_integer()
