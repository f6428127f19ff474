"""SIG002: hidden units stuck in the flat part of a sigmoid or tanh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules._shared.gates import is_gate

if TYPE_CHECKING:
    from nnlint import ForwardStats, Graph, LayerStats, Op


class SaturatedUnits(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#saturated-units."""

    share: float = Field(0.5, description="share of a layer's values in the flat part")
    fatal_share: float = Field(0.9, description="from here on an error")


@rule("SIG002", "saturated-units", level="warning", since="0.1")
def check(forward: ForwardStats, options: SaturatedUnits) -> Iterator[Finding]:
    """Values of a sigmoid, tanh or hardtanh in the flat part of the curve.

    ## What it does
    Measures the share of a layer's values beyond which the curve is flat: sigmoid outside (0.02, 0.98), tanh beyond 0.97 either
    way, where the slope is under a tenth of its greatest. More than 50 % of the values is a warning, more than 90 % an error.
    Gates (whose output is multiplied with another activation) are left out: being open or closed is their work; and so is a
    final sigmoid that a prior holds near zero (detectors).

    ## Why is this bad?
    The gradient is multiplied with the slope. Through a saturated layer next to nothing comes back, and the layers before it
    learn only once the weights that saturate it have shrunk.

    ## Example
        h = torch.tanh(10.0 * self.fc1(x))

    ## Use instead
        h = torch.tanh(self.fc1(x))          # pre-activations of scale 1; Glorot initialization, standardized inputs

    ## References
    - Glorot and Bengio: Understanding the difficulty of training deep feedforward neural networks, 2010
    """
    for layer in forward.layers:
        if layer.saturated is None or layer.saturated <= options.share or not layer.finite:
            continue
        if is_gate(layer.op) or _is_rare_event_head(layer, forward.graph) or not _has_unit_range(layer.op):
            continue
        # Only where nothing between changes the numbers: a factor before the activation is not measured.
        given = layer.op.input
        before = forward.of(forward.graph.producer(given)) if given is not None else None
        scale = (
            f": its pre-activations have mean {before.mean:.3g} and std {before.std:.3g}" if before is not None else ""
        )
        source = before.label if before is not None else "the layer before"
        yield Finding(
            at=layer,
            level=Level.ERROR if layer.saturated > options.fatal_share else None,
            message=f"{layer.saturated:.0%} of the values of {layer.label} lie in its flat part (limit {options.share:.0%}){scale}",
            evidence={
                "saturated": layer.saturated,
                "limit": options.share,
                "pre_activation_mean": before.mean if before is not None else None,
                "pre_activation_std": before.std if before is not None else None,
            },
            fix=f"bring the output of {source} to a scale of about 1: smaller weights (Glorot initialization), standardized "
            "inputs, no factor before the activation, or a norm between",
            modules=tuple({before.module_path}) if before is not None else (),
        )


def _is_rare_event_head(layer: LayerStats, graph: Graph) -> bool:
    """A final sigmoid held near zero by a prior bias."""
    if not layer.op.is_kind("sigmoid") or layer.mean > 0.1:
        return False
    return not graph.precedes(layer.op, "linear-map")


def _has_unit_range(op: Op) -> bool:
    """The measured share assumes flat parts at -1 and 1: `hardtanh(0, 6)` has them elsewhere."""
    limits = (op.argument("min_val", -1.0), op.argument("max_val", 1.0))
    return op.name != "hardtanh" or limits == (-1.0, 1.0)
