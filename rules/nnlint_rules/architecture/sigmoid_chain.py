"""ARC024: sigmoids or tanhs in a row."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Place, rule
from nnlint_rules.architecture._saturating_chains import chains

if TYPE_CHECKING:
    from nnlint import BackwardStats, Evidence, ForwardStats, Op


class SigmoidChain(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#sigmoid-chain."""

    gradient: float = Field(
        default=0.3, description="factor per layer below which the gradient decays (a sigmoid's slope is at most 0.25)"
    )
    spread: float = Field(default=0.4, description="factor per layer below which what tells samples apart decays")


@rule("ARC024", "sigmoid-chain", level="warning", since="0.1")
def check(forward: ForwardStats, backward: BackwardStats, options: SigmoidChain) -> Iterator[Finding]:
    """Two or more saturating hidden activations in sequence, and a measured decay through them.

    ## What it does
    Finds sigmoids, tanhs and their like that follow each other with only linear layers and poolings between (a norm, a residual
    sum or another activation ends the chain) and that have a layer after the last of them. It reports the chain where the norm
    of the gradient with respect to their outputs, or the share of the signal that differs between samples, shrinks by more than
    the limit from layer to layer. Gates (an output multiplied with another value) are no part of it.

    ## Why is this bad?
    The slope of a sigmoid is at most 1/4: with common weights each layer passes on about 0.14 of the gradient and the first
    layers learn thousands of times more slowly than the last. It needs no saturation; the sigmoids sit at 0.5.

    ## Example
        x = torch.sigmoid(self.conv1(x)); x = torch.sigmoid(self.conv2(x)); x = torch.sigmoid(self.fc1(x))

    ## Use instead
        x = F.relu(self.conv1(x)); x = F.relu(self.conv2(x)); x = F.relu(self.fc1(x))     # with He initialization

    ## References
    - Glorot and Bengio, 2010: Understanding the difficulty of training deep feedforward neural networks
    """
    for chain in chains(forward):
        gradient = _rate([_gradient(op, backward) for op in chain[::-1]])
        spread = _rate([_spread(op, forward) for op in chain])
        decays = gradient is not None and gradient < options.gradient
        fades = spread is not None and spread < options.spread
        if decays or fades:
            yield _finding(chain, gradient, spread, options)


def _gradient(op: Op, backward: BackwardStats) -> float | None:
    found = backward.of(op)
    return found.norm if found is not None else None


def _spread(op: Op, forward: ForwardStats) -> float | None:
    found = forward.of(op)
    return found.sample_spread if found is not None else None


def _rate(values: list[float | None]) -> float | None:
    """Geometric mean of the factors from one to the next; None where an end is unknown or zero."""
    known = [value for value in values if value is not None and math.isfinite(value) and value > 0.0]
    if len(known) < len(values):
        return None
    return float((known[-1] / known[0]) ** (1.0 / (len(known) - 1)))


def _finding(chain: list[Op], gradient: float | None, spread: float | None, options: SigmoidChain) -> Finding:
    names = sorted({op.name for op in chain})
    measured = [
        f"{what} shrinks {rate:.2g}x a layer (limit {limit:g}x)"
        for what, rate, limit in (
            ("the gradient", gradient, options.gradient),
            ("the spread between samples", spread, options.spread),
        )
        if rate is not None and rate < 1.0
    ]
    evidence: dict[str, Evidence] = {"activations": len(chain), "kinds": list(names)}
    evidence |= {"gradient_factor": gradient} if gradient is not None else {}
    evidence |= {"spread_factor": spread} if spread is not None else {}
    return Finding(
        at=Place(_layers(chain[0])[0] if _layers(chain[0]) else "", chain[0].location),
        message=f"{len(chain)} hidden activations ({', '.join(names)}) in sequence: {', '.join(measured)}",
        evidence={**evidence, "gradient_limit": options.gradient, "spread_limit": options.spread},
        fix="ReLU or GELU between the layers, with He initialization (or a normalization layer before each activation)",
        modules=tuple(dict.fromkeys(path for op in chain for path in _layers(op))),
    )


def _layers(op: Op) -> list[str]:
    """Path of the layer that the activation follows, and its own."""
    before = op.activations[0] if op.activations else None
    return [path for path in (before.module_path if before is not None else "", op.module_path) if path]
