"""Cross-entropies written out as the sum of targets times log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint_rules.loss._heads import softmax_dim
from nnlint_rules.loss._sinks import loss_path
from nnlint_rules.loss._targets import TargetRows, rows_of

if TYPE_CHECKING:
    from nnlint import Batch, BatchTensor, Graph, LossCalls, Op

#: What leaves the rows of targets and of log-probabilities as they are, but for a sign.
_PLAIN = ("identity", "cast", "integer-cast", "neg", "detach")
#: Products of rows with columns, whose factors were given an axis more.
_MATRIX = ("matmul", "bmm", "vecdot", "linalg_vecdot")


@dataclass(frozen=True)
class WrittenOut:
    """A product of log-probabilities and targets that is summed into the loss.

    Attributes:
        op: the product.
        rows: the targets along the dimension of the softmax.
        is_set: whether an input of the model is a table of zeros and ones of the same shape: a set to be completed.
    """

    op: Op
    rows: TargetRows
    is_set: bool


def written_out(losses: LossCalls, batch: Batch) -> Iterator[WrittenOut]:
    """Every `-(log_softmax(x) * y).sum()` on the way to the loss where y is a tensor of the batch and nothing else reads y.

    Where the loss reads the targets again (to divide by how many there are, for their complement) it is another loss.
    """
    graph, upstream = losses.graph, loss_path(losses)
    given = _given(graph, batch)
    for op in graph.calls("mul", "einsum", *_MATRIX):
        if op not in upstream or len(op.activations) != 2:
            continue
        ends = [graph.producer(part, through=_through(op)) for part in op.activations]
        dims = [_log_softmax_dim(graph, end) for end in ends]
        target, dim = (ends[1], dims[0]) if dims[0] is not None else (ends[0], dims[1])
        tensor = given.get(target.index)
        if dim is None or tensor is None or not _is_product(op, tensor) or not _only_summed(graph, op, target, upstream):
            continue
        rows = rows_of(tensor.tensor, dim)
        if rows is not None:
            yield WrittenOut(op, rows, _has_set(batch, tensor))


def _through(product: Op) -> tuple[str, ...]:
    """What leaves the factors of a product as they are."""
    return (*_PLAIN, "view", "index") if product.name in _MATRIX else _PLAIN


def _given(graph: Graph, batch: Batch) -> dict[int, BatchTensor]:
    """Inputs and targets of the batch by the index of their op."""
    targets = [op for op in graph.calls("input") if op not in graph.inputs]
    pairs = ((graph.inputs, batch.inputs), (targets, batch.targets))
    return {
        op.index: tensor
        for ops, tensors in pairs
        for op, tensor in zip(ops, tensors, strict=False)
        if op.shape == tensor.shape and not tensor.assumed
    }


def _log_softmax_dim(graph: Graph, op: Op) -> int | None:
    """The dimension of a log_softmax, or of the softmax under a logarithm; None for any other op."""
    if op.is_kind("log-softmax"):
        return softmax_dim(op)
    if op.name != "log" or not op.activations:
        return None
    inner = graph.producer(op.activations[0], through=(*_PLAIN, "clamp"))
    if inner.name == "add" and any(isinstance(number, float) and abs(number) < 0.01 for number in inner.leading):
        inner = graph.producer(inner.activations[0], through=(*_PLAIN, "clamp"))  # guarded against log(0)
    return softmax_dim(inner) if inner.is_kind("softmax") else None


def _is_product(op: Op, target: BatchTensor) -> bool:
    """Whether each entry of the targets is multiplied with one log-probability."""
    if op.name == "mul":
        return target.shape == op.shape
    if op.name in _MATRIX:
        # One number for each row: every factor is met once.
        rows = math.prod(target.shape[:-1])
        return math.prod(op.shape or ()) == rows and all(math.prod(part.shape or ()) == math.prod(target.shape) for part in op.activations)
    shapes = {part.shape for part in op.activations}
    return shapes == {target.shape} and op.shape is not None and len(op.shape) < len(target.shape)


def _only_summed(graph: Graph, product: Op, target: Op, upstream: frozenset[Op]) -> bool:
    """Whether the product is summed or averaged at once, and the loss reads the targets nowhere else."""
    takers = [op for op in graph.consumers(product, through=_PLAIN) if op in upstream]
    readers = {op for op in graph.consumers(target, through=_through(product)) if op in upstream}
    summed = product.name == "einsum" or product.name in _MATRIX or (bool(takers) and all(op.name in ("sum", "mean") for op in takers))
    return summed and readers == {product}


def _has_set(batch: Batch, target: BatchTensor) -> bool:
    others = (tensor for tensor in batch.inputs if tensor is not target and tensor.shape == target.shape)
    return any(bool(((other.values == 0) | (other.values == 1)).all()) for other in others)
