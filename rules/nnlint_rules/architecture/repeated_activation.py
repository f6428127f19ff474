"""ARC006: an activation of an activation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint.kinds import VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Graph, Op

_ACTIVATIONS = ("activation", "softmax", "log-softmax")
_SQUASHING = ("sigmoid", "tanh", "softmax", "log-softmax", "softsign")
_SQUASHED = ("saturating", "softmax")


@rule("ARC006", "repeated-activation", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """An activation applied to the output of another with nothing learnable between.

    ## What it does
    Reports an activation whose input is, through views, casts, slicing and dropout, another activation's output. A sigmoid, tanh
    or softmax of a value that is already squashed into an interval is a warning; one that changes nothing (ReLU of a ReLU, ReLU
    of a sigmoid) and other pairs are an info. Products of gates are no pair: something else is multiplied in.

    ## Why is this bad?
    A sigmoid of a sigmoid lies in [0.5, 0.73]: most of the range is lost and the gradient shrinks by another factor of four.
    Mostly an activation stands both in a layer and in the forward.

    ## Example
        self.encoder = nn.Sequential(nn.Linear(20, 64), nn.Tanh())
        ...
        h = torch.sigmoid(self.encoder(x))

    ## Use instead
        h = self.encoder(x)

    ## References
    - PyTorch: Non-linear activations, `torch.nn`
    """
    for op in graph.calls(*_ACTIVATIONS):
        if op.in_loss or not op.activations or not op.requires_grad:
            continue
        before = graph.producer(op.activations[0], through=VALUE_PRESERVING)
        if before.is_kind(*_ACTIVATIONS) and not before.is_kind("log-softmax"):
            yield _finding(op, before)


def _finding(op: Op, before: Op) -> Finding:
    squashed = op.is_kind(*_SQUASHING) and before.is_kind(*_SQUASHED)
    if squashed:
        low, high = before.range or (0.0, 1.0)
        reason = f"its input lies in [{low:g}, {high:g}] already, so that it can use only a small part of its range"
    elif _changes_nothing(op, before):
        reason = "it changes nothing"
    else:
        reason = "two activations follow each other with nothing to learn between"
    return Finding(
        at=op,
        message=f"{op.label} is applied to the output of {before.label}: {reason}",
        evidence={"first": before.name, "second": op.name},
        fix=f"remove one of the two ({before.label}, {op.label})",
        level=None if squashed else Level.INFO,
        modules=(before.module_path,) if before.module_path else (),
    )


def _changes_nothing(op: Op, before: Op) -> bool:
    """Whether `op` maps every value that `before` can give to itself."""
    low = before.range[0] if before.range is not None else None
    if op.name == "relu":
        return low is not None and low >= 0.0
    return op.name == before.name and op.name in {"relu6", "hardtanh"}
