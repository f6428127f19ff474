"""NRM011: running statistics that are not those of the data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Skip, rule
from nnlint.kinds import SHAPE_ONLY
from nnlint_rules._shared.words import listed, paths

if TYPE_CHECKING:
    from nnlint import ForwardStats, Graph, Op, Parameters, ParameterView


class StaleRunningStats(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#running-statistics."""

    power: float = Field(
        default=2.0, description="largest accepted factor between the mean squares of batch and statistics"
    )
    shift: float = Field(default=1.0, description="largest accepted difference of the means, in running deviations")


@rule("NRM011", "stale-running-stats", level="warning", since="0.1")
def check(graph: Graph, parameters: Parameters, forward: ForwardStats, options: StaleRunningStats) -> Iterator[Finding]:
    """Running statistics of a trained batch norm that are far from those of the batch.

    ## What it does
    On trained weights, compares the mean square and the mean of every batch norm's input with the running mean and variance it
    would use in evaluation. Reports a factor of two in the mean square, or a mean one deviation away. Freshly initialized
    models, whose statistics are initial values, are not judged.

    ## Why is this bad?
    Evaluation normalizes with the running statistics: training-mode results are good and evaluation-mode results are
    not. The statistics were not loaded with the weights (`strict=False`), were reset, come from data preprocessed
    otherwise, or the weights were changed after they were collected (averaging, pruning).

    ## Example
        model.load_state_dict(weights_without_buffers, strict=False)

    ## Use instead
        model.load_state_dict(checkpoint)                              # with the running statistics
        torch.optim.swa_utils.update_bn(train_loader, model)           # or collect them again

    ## References
    - PyTorch: `torch.optim.swa_utils.update_bn`
    """
    norms = [norm for norm in graph.calls("batch-norm") if norm.activations]
    if not norms or parameters.fresh:
        return
    if forward.assumed:
        raise Skip("needs a real batch; nnlint generated the inputs")
    buffers = {view.name: view for view in parameters.buffers}
    drifts = [drift for norm in norms if (drift := _drift(graph, forward, buffers, norm)) is not None]
    drifts = [drift for drift in drifts if not drift.initial or _is_trained(parameters, drift.norm)]
    stale = [drift for drift in drifts if drift.is_large(options)]
    if not stale:
        return
    worst = max(stale, key=lambda drift: abs(math.log(drift.power)) + drift.shift)
    yield Finding(
        at=worst.norm,
        message=f"its running statistics are not those of the data: the mean square of the input is {worst.power:.3g}x "
        f"what they stand for (accepted within {options.power:g}x) and a mean {worst.shift:.2g} deviations away (limit {options.shift:g}); "
        f"{len(stale)} of {len(drifts)} batch norms: {listed(drift.norm.label for drift in stale)}",
        evidence={
            "power": {drift.norm.label: drift.power for drift in stale},
            "shift": {drift.norm.label: drift.shift for drift in stale},
            "power_limit": options.power,
            "shift_limit": options.shift,
        },
        fix="load the running statistics with the weights, or collect them with torch.optim.swa_utils.update_bn(loader, model)",
        modules=paths(drift.norm for drift in stale),
    )


@dataclass(frozen=True)
class _Drift:
    """Batch against running statistics: factor of the mean squares, distance of the means in running deviations; statistics never moved."""

    norm: Op
    power: float
    shift: float
    initial: bool

    def is_large(self, options: StaleRunningStats) -> bool:
        return not 1 / options.power <= self.power <= options.power or self.shift > options.shift


def _drift(graph: Graph, forward: ForwardStats, buffers: dict[str, ParameterView], norm: Op) -> _Drift | None:
    mean, variance = (_buffer(norm, name, buffers) for name in ("running_mean", "running_var"))
    stats = forward.of(graph.producer(norm.activations[0], through=SHAPE_ONLY))
    if mean is None or variance is None or stats is None or not stats.finite or not (mean.finite and variance.finite):
        return None
    initial = mean.value == 0.0 and variance.value == 1.0
    # Over all channels: mean of squares = mean of the variances + mean of the squared means.
    square = variance.mean + mean.mean**2 + mean.std**2
    if not (square > 0.0 and variance.mean > 0.0 and stats.rms > 0.0):
        return None
    return _Drift(norm, stats.rms**2 / square, abs(stats.mean - mean.mean) / math.sqrt(variance.mean), initial)


def _is_trained(parameters: Parameters, norm: Op) -> bool:
    """Whether initial statistics are out of place here: the norm's own scale was trained, not drawn around zero."""
    scale = parameters.find(f"{norm.module_path}.weight" if norm.module_path else "weight")
    if scale is None or not scale.finite:
        return parameters.known_weights[0] < parameters.known_weights[1]
    return not scale.constant and scale.mean > 0.5


def _buffer(norm: Op, name: str, buffers: dict[str, ParameterView]) -> ParameterView | None:
    """The running statistics of the norm's module, or None where it is a function or keeps none."""
    return buffers.get(f"{norm.module_path}.{name}" if norm.module_path else name)
