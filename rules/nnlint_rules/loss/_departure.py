"""What is said of a first loss that is far from its closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlint import Finding, Level, Place
from nnlint_rules.loss._reading import Reading

if TYPE_CHECKING:
    from nnlint import MeasuredLoss, Op


def too_high(
    layer: Op, call: MeasuredLoss, reading: Reading, level: Level | None, amount: float, limit: float
) -> tuple[float, Finding]:
    """By how much, and the finding."""
    if reading.excess is not None:
        measured = f"the logits of {layer.label} alone make it {reading.excess:.2f} higher (limit {limit:.2g})"
        fix = f"initialize {layer.label} smaller (its logits should have a standard deviation well below 1), or normalize its input"
    else:
        measured = f"it is {reading.measured:.3g}, {reading.ratio:.3g} times that (limit {limit:g})"
        fix = f"bring outputs and targets to one scale: standardize the targets, or initialize {layer.label} smaller"
    finding = Finding(
        at=Place("", layer.location or call.location),
        level=level,
        message=f"{call.label} at initialization should be about {reading.words}; {measured}",
        evidence={**_evidence(reading), "limit": limit, "layer": layer.label},
        fix=fix,
        modules=(layer.module_path,),
    )
    return amount, finding


def too_low(layer: Op, call: MeasuredLoss, reading: Reading, limit: float) -> Finding:
    """The targets leak."""
    return Finding(
        at=Place("", layer.location or call.location),
        message=f"{call.label} is {reading.measured:.3g} before any training, where an uninformed prediction has about "
        f"{reading.words} (limit {limit:.3g}): the targets leak into the output of {layer.label}",
        evidence={**_evidence(reading), "limit": limit, "layer": layer.label},
        fix="look for the target in the input (a label column, an unshifted sequence, a skip connection from input to output)",
        modules=(layer.module_path,),
    )


def _evidence(reading: Reading) -> dict[str, float | None]:
    return {
        "expected": reading.expected,
        "measured": reading.measured,
        "excess": reading.excess,
        "ratio": reading.ratio,
        "constant_prediction": reading.constant,
    }
