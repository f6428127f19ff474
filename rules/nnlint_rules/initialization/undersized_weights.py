"""INI004: weights so small that nothing of the input arrives at the output."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.initialization._stacks import Layer, covered, layers, sample_signal, stacks

if TYPE_CHECKING:
    from nnlint import ForwardStats, Graph, Op, Parameters


class UndersizedWeights(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#weight-scale."""

    of_lecun: float = Field(default=1 / 20, description="largest weight scale that is reported, in LeCun deviations")
    signal: float = Field(default=1e-3, description="output over input of a stack whose signal counts as dead")


@rule("INI004", "undersized-weights", level="warning", since="0.1")
def check(graph: Graph, parameters: Parameters, forward: ForwardStats, options: UndersizedWeights) -> Iterator[Finding]:
    """Weights a twentieth of the LeCun scale or less, in a stack at whose end the input is no longer to be seen.

    ## What it does
    Compares the deviation of fresh linear and convolution weights with 1 / sqrt(fan_in), and measures what the
    samples contribute to the values of the last hidden layer. Layers before a norm or in a residual branch, and a
    small output layer, are left out: there a small scale does no harm.

    ## Why is this bad?
    Every such layer divides the signal, and the gradient on its way back, by twenty or more. The output is that of
    the biases alone, the gradient of the first layers vanishes, and training stands still at the loss of a guess.

    ## Example
        nn.init.normal_(self.fc.weight, std=0.001)

    ## Use instead
        nn.init.kaiming_normal_(self.fc.weight, nonlinearity="relu")

    ## References
    - Glorot and Bengio: Understanding the difficulty of training deep feedforward neural networks, 2010
    """
    parameters.require_fresh()
    for stack in stacks(graph, layers(graph, parameters)):
        hidden = stack[:-1]  # an output layer may be small on purpose
        small = [layer for layer in hidden if _is_small(layer, options)]
        if not small or not _reaches_output(graph, stack[-1].op):
            continue
        first, last = _input_signal(forward, hidden[0]), sample_signal(forward, hidden[-1].op)
        if last is None or last >= options.signal * first:
            continue
        layer = small[0]
        yield Finding(
            at=layer.place,
            message=f"the weights are {layer.gain:.2g} of the LeCun scale (limit {options.of_lecun:.2g}), and of the "
            f"input {last / first:.2g} is left at {hidden[-1].op.label} (limit {options.signal:g})"
            + (f"; likewise {listed(other.op.label for other in small[1:])}" if len(small) > 1 else ""),
            evidence={
                "of_lecun": {other.weight.name: other.gain for other in small},
                "limit": options.of_lecun,
                "signal": last / first,
                "signal_limit": options.signal,
            },
            fix=f"nn.init.kaiming_normal_(layer.weight), a deviation of {math.sqrt(2 / layer.fan_in):.2g} here "
            f"instead of {layer.weight.std:.2g}",
            modules=covered(stack),
        )


def _is_small(layer: Layer, options: UndersizedWeights) -> bool:
    return not layer.weight.constant and layer.weight.finite and layer.gain <= options.of_lecun


def _reaches_output(graph: Graph, op: Op) -> bool:
    """Whether what follows the op is the model's output or the loss, not a sum, a norm or something unknown."""
    below = graph.descendants(op)
    inside = [user for user in below if not user.in_loss and not user.is_kind("loss")]
    passing = ("view", "identity", "cast", "dropout", "index", "activation", "softmax", "log-softmax", "pool", "reduce")
    return all(user.is_kind(*passing) for user in inside)


def _input_signal(forward: ForwardStats, layer: Layer) -> float:
    """Scale of what goes into the stack; inputs of the model are taken to be standardized."""
    stats = forward.of(layer.op)
    before = forward.before(stats) if stats is not None else None
    return before.rms if before is not None and before.finite and before.rms > 0.0 else 1.0
