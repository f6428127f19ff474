"""LOS027: log of a softmax or sigmoid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule

if TYPE_CHECKING:
    from nnlint import Graph, Op


@rule("LOS027", "unstable-log-softmax", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Logarithm of a softmax or sigmoid.

    ## What it does
    Reports a `log` whose argument is the output of a softmax or sigmoid, or 1 minus it. With a clamp or a small constant in
    between it is info.

    ## Why is this bad?
    A probability below 1e-45 (a logit 104 below the largest) is 0 in float32: its log is -inf and its gradient NaN. In half
    precision that happens at a difference of 17. `log_softmax` and `logsigmoid` compute the same from the logits, exactly.

    ## Example
        torch.log(F.softmax(logits, dim=1))

    ## Use instead
        F.log_softmax(logits, dim=1)

    ## References
    - PyTorch: `torch.nn.functional.log_softmax`, `torch.nn.functional.logsigmoid`
    """
    for op in graph.calls("log"):
        found = _squashed(graph, op) if op.activations else None
        if found is None:
            continue
        head, guarded, complement = found
        better = (
            "log_softmax of the logits"
            if head.is_kind("softmax")
            else f"logsigmoid of {'minus ' if complement else ''}the logits"
        )
        yield Finding(
            at=op,
            level=Level.INFO if guarded or _is_scale(graph, head, op) else None,
            message=f"{op.label} is taken of {'1 minus ' if complement else ''}{head.label}: "
            + (
                "the guard against 0 stops the gradient there"
                if guarded
                else "it is -inf where the probability rounds to 0"
            ),
            evidence={"of": head.name, "guarded": guarded},
            fix=f"use {better}",
            modules=(head.module_path,),
        )


def _is_scale(graph: Graph, head: Op, log: Op) -> bool:
    """Whether a sigmoid scales a signal and its log is the log-determinant of that: no target drives it to 0."""
    if not head.is_kind("sigmoid") or log.in_loss:
        return False
    logged = graph.descendants(log) | {log}
    return any(
        user.is_kind("mul", "div")
        and all(source not in logged and (source is head or _is_signal(source)) for source in user.activations)
        and len(user.activations) > 1
        for user in graph.consumers(head)
    )


def _is_signal(op: Op) -> bool:
    return op.dtype.startswith("float") and len(op.shape or ()) > 1


def _squashed(graph: Graph, log: Op) -> tuple[Op, bool, bool] | None:
    """The softmax or sigmoid under a log, whether it is guarded against 0, and whether it is 1 minus it."""
    op, guarded, complement = graph.producer(log.activations[0]), False, False
    if log.name == "log1p":
        # log(1 + p) is harmless, log(1 - p) is written log1p(-p).
        if op.name != "neg":
            return None
        op, complement = graph.producer(op.activations[0]), True
    for _ in range(3):
        if op.is_kind("softmax", "sigmoid"):
            return op, guarded, complement
        if len(op.activations) != 1:
            return None
        if op.is_kind("clamp"):
            guarded = True
        elif op.name == "rsub" or (op.name == "sub" and bool(op.leading) and op.leading[0] == 1):
            complement = True
        elif op.name == "add":
            guarded = True
        else:
            return None
        op = graph.producer(op.activations[0])
    return None
