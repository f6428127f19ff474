"""ARC010: the output is the same for every input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint_rules.architecture._flow import arrive_as_codes

if TYPE_CHECKING:
    from nnlint import EvalStats, ForwardStats, LayerStats

_LIMIT = 1e-6


@rule("ARC010", "constant-output", level="error", since="0.1")
def check(evaluation: EvalStats, forward: ForwardStats) -> Iterator[Finding]:
    """Every sample gets the same output.

    ## What it does
    Compares the evaluation-mode outputs of different samples. If they agree to 1e-6 of the largest output, a few updates
    are made on a snapshot and the comparison is repeated after each: a zero-initialized head has a constant output only
    until the first. Names the layer from which on the samples cannot be told apart.

    ## Why is this bad?
    What the model returns does not depend on what it is given, so it can learn the average target and nothing else. Dead
    units, a softmax over one unit, a norm over one value, or overwriting the signal instead of adding to it are usual causes.

    ## Example
        x = self.norm(self.fc(x))               # nn.LayerNorm(1): (x - mean(x)) / std(x) of one value is 0

    ## Use instead
        x = self.fc(x)

    ## References
    - Karpathy: A Recipe for Training Neural Networks, 2019 ("input-independent baseline")
    """
    spread = evaluation.output_spread
    if spread is None:
        raise Skip("no output has the batch as its first dimension, or the batch holds a single sample")
    if not evaluation.samples_differ:
        raise Skip("all samples of the batch are equal")
    if not evaluation.outputs_finite:
        raise Skip("the outputs are not finite")
    if spread > _LIMIT:
        return
    after = evaluation.spread_after_steps
    if after is None or after > _LIMIT or _varies_in_training(forward):
        return
    where = _start(forward)
    yield Finding(
        at=where or next((op for op in forward.graph.outputs if op.shape and not op.in_loss), None),
        # A quantizer whose codebook is fresh gives every sample the same code until the codes have spread.
        level=Level.INFO if where is not None and arrive_as_codes(forward.graph.inputs, [where.op]) else None,
        message=f"the output is the same for all samples (they differ by {spread:.1g} of the largest output, after a few "
        f"updates by {after:.1g}; limit {_LIMIT:g})"
        + (f": from {where.label} on the samples cannot be told apart" if where is not None else ""),
        evidence={"spread": spread, "spread_after_steps": after, "limit": _LIMIT},
        modules=_upstream(forward, where),
        fix="follow the signal into this layer: its input has to reach the output through something that is not constant",
    )


def _upstream(forward: ForwardStats, where: LayerStats | None) -> tuple[str, ...]:
    """The modules whose work is lost: nothing of it reaches the output, and no gradient comes back."""
    graph = forward.graph
    ends = [where.op] if where is not None else graph.outputs
    above = graph.above(ends)
    return tuple(dict.fromkeys(op.module_path for op in graph.ops if op in above and op.parameters))


def _varies_in_training(forward: ForwardStats) -> bool:
    """Whether the samples can be told apart in training mode.

    Fresh running statistics (0 and 1) let the signal of a deep batch-normalized net fade in evaluation mode, and the first
    epoch fixes that.
    """
    outputs = (forward.of(forward.graph.producer(output)) for output in forward.graph.outputs)
    return any(
        layer.sample_spread is not None and layer.sample_spread > _LIMIT for layer in outputs if layer is not None
    )


def _start(forward: ForwardStats) -> LayerStats | None:
    """The first measured layer from which on nothing tells the samples apart.

    What is flat and is followed by something that is not (a zero-initialized branch, the first state of a recurrence) is
    no cause.
    """
    graph = forward.graph
    upstream = graph.above(graph.outputs).union(graph.outputs)
    measured = [layer for layer in forward.layers if layer.op in upstream]
    varying = [layer.op for layer in measured if not _is_flat(layer, forward.samples)]
    alive = graph.above(varying)
    return next((layer for layer in measured if layer.op not in alive and _is_flat(layer, forward.samples)), None)


def _is_flat(layer: LayerStats, samples: int) -> bool:
    """Whether all samples have the same values there."""
    if layer.op.shape is None or layer.op.shape[:1] != (samples,):
        return False
    return layer.std == 0.0 or (layer.sample_spread is not None and layer.sample_spread <= _LIMIT)
