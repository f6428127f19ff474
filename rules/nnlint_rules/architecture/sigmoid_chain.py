"""ARC024: sigmoids or tanhs in a row."""

from __future__ import annotations

import math
from collections.abc import Container, Hashable, Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Place, rule

if TYPE_CHECKING:
    from nnlint import BackwardStats, Evidence, ForwardStats, Op

#: What a chain passes on its way from one saturating activation to the next.
_BETWEEN = ("linear-map", "view", "identity", "cast", "dropout", "index", "pool", "reduce", "neg", "concat", "resample")


class SigmoidChain(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#sigmoid-chain."""

    gradient: float = Field(
        default=0.3, description="factor per layer below which the gradient decays (a sigmoid's slope is at most 0.25)"
    )
    spread: float = Field(default=0.4, description="factor per layer below which what tells samples apart decays")


@rule(
    "ARC024", "sigmoid-chain", level="warning", since="0.1")  # fmt: skip
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
    for chain in _chains(forward):
        gradient = _rate([_gradient(op, backward) for op in chain[::-1]])
        spread = _rate([_spread(op, forward) for op in chain])
        decays = gradient is not None and gradient < options.gradient
        fades = spread is not None and spread < options.spread
        if decays or fades:
            yield _finding(chain, gradient, spread, options)


def _chains(forward: ForwardStats) -> Iterator[list[Op]]:
    """Longest chains of hidden saturating activations, in execution order."""
    graph = forward.graph
    before_layers = graph.above(op for op in graph.calls("linear-map") if not op.in_loss)
    saturating = [op for op in graph.calls("saturating") if not op.in_loss]
    hidden = dict.fromkeys(op for op in saturating if op in before_layers and not _is_gate(op))
    above = {op: _previous(op, hidden) for op in hidden}
    continued = set(above.values())
    ends = [op for op in hidden if op not in continued]
    for end in ends:
        chain = [end]
        while (before := above[chain[-1]]) is not None:
            chain.append(before)
        layers = {_layer_before(op) for op in chain}
        if len(chain) > 1 and len(layers) == len(chain):  # the same layer again is a step in time, not in depth
            yield chain[::-1]


def _layer_before(op: Op) -> Hashable:
    """What tells the layer that feeds an activation from others: its weights, or its place in the source."""
    current = op.activations[0] if op.activations else op
    while not current.is_kind("linear-map") and current.activations:
        current = current.activations[0]
    return current.parameters or (current.module_path, current.call_location)


def _previous(op: Op, hidden: Container[Op]) -> Op | None:
    """The saturating activation before this one, with at least one linear map and nothing that rescales between."""
    current = op.activations[0] if op.activations else None
    passed = 0
    while current is not None and (current not in hidden or not passed):
        if not (current.is_kind(*_BETWEEN) or (current.name == "add" and len(current.activations) == 1)):
            return None
        passed += current.is_kind("linear-map")
        current = current.activations[0] if current.activations else None
    return current


def _is_gate(op: Op) -> bool:
    """Whether the output scales another value."""
    return any(
        user.is_kind("mul", "matmul", "merge", "compare") and len(user.activations) > 1 for user in _consumers(op)
    )


def _consumers(op: Op) -> list[Op]:
    found, waiting = [], list(op.users)
    while waiting:
        user = waiting.pop()
        if user.is_kind("view", "identity", "cast", "index", "resample") or user.name in ("sub", "rsub"):
            waiting.extend(user.users)
        found.append(user)
    return found


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
