"""SIG001: units that never fire on the batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule

if TYPE_CHECKING:
    from nnlint import ForwardStats, LayerStats


class DeadUnits(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#dead-units."""

    share: float = Field(0.6, description="share of a layer's units; healthy plain CNNs on noise reach 0.45")
    fatal_share: float = Field(0.95, description="from here on an error")
    min_samples: int = Field(32, description="with fewer samples the share is biased high: reported as info")
    chance: float = Field(1e-3, description="least surprising share that counts, if every unit were off by a coin toss")


@rule("SIG001", "dead-units", level="warning", since="0.1")
def check(forward: ForwardStats, options: DeadUnits) -> Iterator[Finding]:
    """Rectified units that are zero at every position of every sample of the batch.

    ## What it does
    Counts, for each ReLU-like layer, the units (channels) that no sample and no position of the batch activates. More than
    60 % of a layer is a warning, 95 % an error. A small batch leaves more units off by accident: with fewer than 32 samples
    the finding is an info, and so it is where a layer has so few units that a coin toss for each of them could explain the
    count (the hidden layer of a squeeze-excite block).

    ## Why is this bad?
    Where a ReLU is zero its gradient is zero, so a unit that is off for all data cannot learn its way back. The layer is
    narrower than it looks, and a layer without any active unit cuts everything before it off from the loss.

    ## Example
        nn.init.normal_(self.fc2.weight, mean=-0.1, std=0.02)   # after a ReLU every product is negative

    ## Use instead
        nn.init.kaiming_normal_(self.fc2.weight, nonlinearity="relu")
        nn.init.zeros_(self.fc2.bias)

    ## References
    - Maas, Hannun and Ng: Rectifier Nonlinearities Improve Neural Network Acoustic Models, 2013
    - Lu, Shin, Su and Karniadakis: Dying ReLU and Initialization, 2019, arXiv:1903.06733
    """
    for layer in forward.rectifiers():
        if not layer.units or layer.never_active is None or layer.never_active / layer.units <= options.share:
            continue
        before = forward.before(layer)
        if before is not None and before.norm == 0.0:
            continue  # exactly zero: a branch that starts at zero, or one after a layer that is reported itself
        source = f" of {before.label}" if before is not None else ""
        scale = f" (pre-activation mean {before.mean:.3g}, std {before.std:.3g})" if before is not None else ""
        dead = layer.never_active / layer.units
        yield Finding(
            at=layer,
            level=_level(dead, layer, forward, options),
            message=f"{layer.never_active} of {layer.units} units of {layer.label} are zero for all {forward.samples} samples "
            f"({dead:.0%}; limit {options.share:.0%}){scale}: no gradient passes through them",
            evidence={
                "never_active": layer.never_active,
                "units": layer.units,
                "share": dead,
                "limit": options.share,
                "samples": forward.samples,
                "pre_activation_mean": before.mean if before is not None else None,
                "pre_activation_std": before.std if before is not None else None,
            },
            fix=f"centre the pre-activations: look at the bias and the weights{source} and at the scale of what it is given; He "
            "initialization with zero bias, a lower learning rate if the weights are trained, or LeakyReLU",
            modules=_cut_off(layer, forward) if dead >= options.fatal_share else (),
        )


def _level(dead: float, layer: LayerStats, forward: ForwardStats, options: DeadUnits) -> Level | None:
    units = layer.units or 0
    if forward.samples < options.min_samples or _by_chance(layer.never_active or 0, units) >= options.chance:
        return Level.INFO
    return Level.ERROR if dead >= options.fatal_share else None


def _by_chance(dead: int, units: int) -> float:
    """Probability that this many units or more are off, if each were off with probability one half.

    That is the worst healthy case: all samples alike, and the sign of each unit random.
    """
    return float(sum(math.comb(units, k) for k in range(dead, units + 1)) / 2**units)


def _cut_off(layer: LayerStats, forward: ForwardStats) -> tuple[str, ...]:
    """Layers before a dead one: their gradients come through it."""
    graph = forward.graph
    return tuple(
        dict.fromkeys(op.module_path for op in graph.ancestors(layer.op) if op.is_kind("linear-map") and op.module_path)
    )
