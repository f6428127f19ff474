"""NRM001: dropout shifts the variance that a later batch norm learns for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules._shared.words import listed, paths
from nnlint_rules.normalization._layers import (
    drop_probability,
    is_active_dropout,
    tracks_statistics,
    uses_batch_statistics,
)

if TYPE_CHECKING:
    from nnlint import EvalStats, ForwardStats, Graph, Op


class VarianceShift(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#variance-shift."""

    ratio: float = Field(default=1.5, description="largest accepted variance of a norm's input, training / evaluation")
    ignored_p: float = Field(default=0.1, description="dropout up to this probability is never reported")


@rule("NRM001", "dropout-before-batch-norm", level="warning", since="0.1")
def check(graph: Graph, forward: ForwardStats, evaluation: EvalStats, options: VarianceShift) -> Iterator[Finding]:
    """Dropout upstream of a batch norm, and the variance of the norm's input is another in evaluation.

    ## What it does
    Looks upstream of every batch norm for dropout with no other normalization between, runs the same forward once
    without dropout, and compares the variance of the norm's input. Reports a ratio above 1.5: as a warning
    where the dropped values go into the norm itself, as an info where a layer with weights stands between (in 40 small nets
    the statistics alone cost 31 to 83 % of the evaluation loss in the first order, 0 to 32 % in the second, and moving the
    dropout helped half of the second). Dropout after the last batch norm, dropout with p up to 0.1, and LayerNorm or
    GroupNorm (which normalize each sample by itself) are no reason for a report; a network inside the loss (the critic of a
    generator) is an info.

    ## Why is this bad?
    Inverted dropout with keep probability q keeps the mean and raises the variance to 1/q + (1/q - 1) mean^2/var
    times the value (2.5 for p = 0.5 after a ReLU). The batch norm stores that variance and divides by it in
    evaluation, where dropout is off: all later layers see activations they were never trained on.

    ## Example
        x = self.bn1(self.drop(F.relu(self.fc1(x))))    # bn1 learns the variance with dropout
        x = self.fc2(x)

    ## Use instead
        x = self.bn1(F.relu(self.fc1(x)))
        x = self.fc2(self.drop(x))                      # dropout after the last batch norm

    ## References
    - Li, Chen, Hu and Yang: Understanding the Disharmony between Dropout and Batch Normalization by Variance Shift,
      CVPR 2019, arXiv:1801.05134
    """
    shifted: list[tuple[bool, float, Op, list[Op]]] = []
    for norm in graph.calls("batch-norm"):
        if not (uses_batch_statistics(norm) and tracks_statistics(norm)):
            continue
        dropouts = [op for op in _dropouts_above(norm) if drop_probability(op) > options.ignored_p]
        ratio = _Shift(forward, evaluation).of(norm.activations[0]) if dropouts else None
        if ratio is not None and ratio > options.ratio:
            straight = not set(dropouts).isdisjoint(_dropouts_above(norm, "linear-map", "matmul", "recurrent", "attention"))
            shifted.append((straight, ratio, norm, dropouts))
    if not shifted:
        return
    straight, ratio, norm, _ = max(shifted, key=lambda found: found[:2])
    sources = sorted({op for *_, above in shifted for op in above}, key=lambda op: op.index)
    norms = [found[2] for found in shifted]
    others = "" if len(norms) == 1 else f" ({len(norms)} batch norms are affected)"
    # The critic of a generator is trained elsewhere: its own check judges it.
    elsewhere = all(op.in_loss for op in norms)
    yield Finding(
        at=norm,
        message=f"the variance of its input is {ratio:.2f}x as large in training as in evaluation "
        f"(limit {options.ratio:g}), because of the dropout above it ({listed(op.label for op in sources)}); "
        f"the running variance will not fit evaluation{others}" + ("; it belongs to a network of the loss" if elsewhere else ""),
        evidence={
            "variance_ratio": ratio,
            "limit": options.ratio,
            "p": [drop_probability(op) for op in sources],
            "dropouts": [op.label for op in sources],
            "norms": {found[2].label: found[1] for found in shifted},
        },
        fix="move the dropout after the last batch norm (before the final linear layer), "
        "or use GroupNorm or LayerNorm instead",
        modules=paths([*norms, *sources]),
        level=None if straight and not elsewhere else Level.INFO,
    )


def _dropouts_above(norm: Op, *barriers: str) -> list[Op]:
    """Active dropouts on the way back from `norm`'s input up to the previous normalizations, and to ops of other kinds."""
    found, seen = [], set()
    waiting = list(norm.activations[:1])
    while waiting:
        op = waiting.pop()
        if op in seen or op.is_kind("norm", *barriers):
            continue
        seen.add(op)
        if is_active_dropout(op):
            found.append(op)
        waiting.extend(op.activations)
    return found


class _Shift:
    """Var(training) / Var(without dropout) of an op's output."""

    def __init__(self, forward: ForwardStats, evaluation: EvalStats) -> None:
        self._forward = forward
        self._evaluation = evaluation
        self._seen: set[Op] = set()

    def of(self, op: Op) -> float | None:
        """The ratio; where the op was not measured, the largest of what it is put together from.

        Batch norm works channel by channel, so the worst part of a concatenation is what its channels meet.
        """
        measured = self._evaluation.variance_ratio(op)
        if measured is not None or op in self._seen:
            return measured
        self._seen.add(op)
        above = [ratio for source in op.activations if (ratio := self.of(source)) is not None]
        if not above:
            return None
        return max(above) * (self._factor(op) if is_active_dropout(op) else 1.0)

    def _factor(self, dropout: Op) -> float:
        """What one inverted dropout adds: 1/q + (1/q - 1) mean^2/var of its input."""
        if dropout.is_kind("alpha-dropout"):
            return 1.0  # keeps mean and variance by construction
        p = drop_probability(dropout)
        if p >= 1.0:
            return 1.0  # everything is dropped: another rule's case
        source = self._forward.of(dropout.activations[0])
        square = source.mean**2 / source.std**2 if source is not None and source.std > 0.0 else 0.0
        return 1.0 / (1.0 - p) + (1.0 / (1.0 - p) - 1.0) * square
