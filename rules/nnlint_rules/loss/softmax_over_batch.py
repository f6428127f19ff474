"""LOS008: softmax or normalization over the batch dimension."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint_rules.loss._heads import softmax_dim, tail

if TYPE_CHECKING:
    from nnlint import Graph, Model, Op

_IMPLICIT = ("softmax", "log_softmax", "softmin")
_OPS = (*_IMPLICIT, "normalize", "gumbel_softmax")


@rule(
    "LOS008",
    "softmax-over-batch",
    level="error",
    since="0.1",
    explains=["LOS003", "LOS018", "LOS024", "ARC008", "ARC027", "SIG006", "TRN001", "TRN005"],
)
def check(graph: Graph, model: Model) -> Iterator[Finding]:
    """Softmax, log-softmax or normalization over the batch dimension.

    ## What it does
    Reports a softmax, log-softmax or `normalize` over dimension 0 where that is the batch: in the head of a loss whose classes
    are in dimension 1, or anywhere in a model whose first dimension is the batch size from input to output. A softmax without
    `dim` is a warning where torch picks another dimension than the batch. Square logits (every sample against every sample),
    time-major models and models without one output for each sample are left alone.

    ## Why is this bad?
    The values of one sample then depend on the other samples of the batch. Each class, not each sample, sums to 1: the loss
    starts near ln(batch size) and the model cannot be used on a single sample.

    ## Example
        F.log_softmax(logits, dim=0)

    ## Use instead
        F.log_softmax(logits, dim=1)

    ## References
    - PyTorch: `torch.nn.Softmax`, `dim`
    """
    if graph.method == "symbolic":
        raise Skip("shapes are unknown without a run")
    heads = _head_ops(graph)
    samples = _samples(graph)
    time_major = any(view.attribute("batch_first") is False for view in model.modules)
    for op in graph.calls(*_OPS):
        dim = softmax_dim(op)
        if op.shape is None or len(op.shape) < 2 or dim is None:
            continue
        in_head = op in heads and len(op.shape) == 2 and op.shape[0] != op.shape[1]
        in_body = not op.in_loss and not time_major and _is_batch(graph, op, samples)
        if dim == 0 and (in_head or in_body) and op.shape[0] > 1:
            yield _finding(op)
        elif op.name in _IMPLICIT and op.argument("dim") is None:
            yield _implicit(op, dim)


def _finding(op: Op) -> Finding:
    assert op.shape is not None  # seen by the caller
    verb = "normalizes" if op.name == "normalize" else "sums to 1"
    return Finding(
        at=op,
        message=f"{op.label} {verb} over dimension 0 of shape {op.shape}, which is the batch: samples depend on each other",
        evidence={"shape": list(op.shape), "dim": 0},
        fix="give the dimension of the classes: dim=1 for (N, C, ...), dim=-1 for (N, ..., C)",
    )


def _implicit(op: Op, dim: int) -> Finding:
    shape = op.shape or ()
    return Finding(
        at=op,
        level=Level.WARNING,
        message=f"{op.label} has no `dim`: for shape {shape} torch picks {dim}, by the number of dimensions; for 3 it picks the batch",
        evidence={"shape": list(shape), "dim": dim},
        fix=f"write the dimension: dim={dim} keeps what is done now",
    )


def _head_ops(graph: Graph) -> frozenset[Op]:
    """Ops between the last layer and a classification loss that takes its classes from dimension 1."""
    found: frozenset[Op] = frozenset()
    for call in graph.loss_calls:
        if call.kind in ("cross_entropy", "nll_loss") and call.prediction is not None:
            rows = call.prediction.shape
            found |= frozenset(op for op in tail(call.prediction) if op.shape == rows)
    return found


def _samples(graph: Graph) -> int | None:
    """The batch size, if it is the first dimension of the inputs, of the targets and of the output."""
    firsts = [op.shape[0] if op.shape else None for op in (*graph.inputs[:1], *graph.outputs[:1])]
    firsts += [op.shape[0] if op.shape else None for op in graph.ops if op.node.meta.get("is_target")]
    if len(firsts) < 2 or None in firsts or len(set(firsts)) != 1:
        return None
    return firsts[0]


def _is_batch(graph: Graph, op: Op, samples: int | None) -> bool:
    if samples is None or op.shape is None or op.shape[0] != samples or op.shape.count(samples) != 1:
        return False
    return any(source.is_kind("input") for source in graph.ancestors(op))
