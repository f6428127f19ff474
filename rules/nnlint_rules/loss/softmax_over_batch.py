"""LOS008: softmax or normalization over the batch dimension."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint.kinds import CLASS_LOSSES
from nnlint_rules.loss._heads import softmax_dim, tail

if TYPE_CHECKING:
    from nnlint import Graph, LossResponse, Model, Op

_IMPLICIT = ("softmax", "log_softmax", "softmin")
_OPS = (*_IMPLICIT, "normalize", "gumbel_softmax")


@rule("LOS008", "softmax-over-batch", level="error", since="0.1")
def check(graph: Graph, model: Model, response: LossResponse | None) -> Iterator[Finding]:
    """Softmax, log-softmax or normalization over the batch dimension.

    ## What it does
    Follows the axis of the samples from the inputs and reports a softmax, log-softmax, `normalize` or written-out softmax
    (`e / e.sum(0)`) over it, wherever permutes and views have put it, and an output with one score for each class whose columns
    sum to 1, whatever made it. A softmax without `dim` is an info where torch picks
    another dimension than the batch: it does what is meant, for this number of dimensions. Every sample against every sample
    (contrastive logits), one weight for each sample in the loss, columns of unit length whose products are summed over the
    batch, and data of which it is not known which axis holds the samples are left alone.

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
        raise Skip("needs shapes, but the model did not run")
    time_major = any(view.attribute("batch_first") is False for view in model.modules)
    places: set[object] = set()
    for op in graph.ops:
        dim = softmax_dim(op) if op.name in _OPS and op.grad_enabled else None
        if op.shape is None or len(op.shape) < 2 or dim is None:
            continue
        place = op.call_location or op.index
        if place in places:
            continue  # one line that runs for every step is one fault
        if _is_over_batch(graph, op, dim, time_major=time_major):
            places.add(place)
            yield _finding(op, dim)
        elif op.name in _IMPLICIT and op.argument("dim") is None:
            yield _implicit(op, dim)
    if response is not None and response.leaf is not None and response.shares == 0 and not places:
        yield _finding(graph.producer(graph.outputs[response.leaf]), 0)


def _finding(op: Op, dim: int) -> Finding:
    verb = "normalizes" if op.name == "normalize" else "sums to 1"
    return Finding(
        at=op,
        message=f"{op.label} {verb} over dimension {dim} of shape {op.shape}, which is the batch: samples depend on each other",
        evidence={"shape": list(op.shape or ()), "dim": dim},
        fix="give the dimension of the classes: dim=1 for (N, C, ...), dim=-1 for (N, ..., C)",
    )


def _implicit(op: Op, dim: int) -> Finding:
    shape = op.shape or ()
    return Finding(
        at=op,
        level=Level.INFO,
        message=f"{op.label} has no `dim`: for shape {shape} torch picks {dim}, by the number of dimensions; for 3 it picks the batch",
        evidence={"shape": list(shape), "dim": dim},
        fix=f"write the dimension: dim={dim} keeps what is done now",
    )


def _is_over_batch(graph: Graph, op: Op, dim: int, *, time_major: bool) -> bool:
    """Whether the dimension is the samples, every one against the others with nothing beside them that is one as well."""
    flow = graph.axis_flow
    dims = graph.axes(op).dims
    if len(dims) <= dim or not flow.is_batch(dims[dim]):
        return False
    others = [other for at, other in enumerate(dims) if at != dim]
    if any(map(flow.has_batch, others)) or (op.in_loss and not any(others)):
        return False  # each sample against each, or one weight for each sample of the loss
    if op.name == "normalize" and _is_summed_over_batch(graph, op):
        return False
    return _is_head(graph, op) or (not op.in_loss and not time_major and _is_certain(graph)) or flow.batch_is_certain


def _is_certain(graph: Graph) -> bool:
    """Whether the samples lead the first input and the first output; more than one of them says so."""
    flow = graph.axis_flow
    firsts = [graph.axes(op).dims[:1] for op in (*graph.inputs[:1], *graph.outputs[:1])]
    return len(firsts) > 1 and all(dims and flow.is_batch(dims[0]) for dims in firsts)


def _is_head(graph: Graph, op: Op) -> bool:
    """Whether the op stands between the last layer and a loss that takes its classes from dimension 1."""
    calls = (call for call in graph.loss_calls if call.kind in CLASS_LOSSES)
    heads = (call.prediction for call in calls if call.prediction is not None)
    return any(op.shape == head.shape and op in tail(head) for head in heads)


def _is_summed_over_batch(graph: Graph, op: Op) -> bool:
    """Whether products sum over the samples next: correlations of features, each feature of unit length."""
    flow = graph.axis_flow
    takers = graph.consumers(op, through=("view", "identity", "cast"))
    parts = [part for taker in takers for part in graph.axes(taker).contracted]
    return any(flow.is_batch(part.left) for part in parts)
