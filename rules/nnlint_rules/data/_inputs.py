"""Where the tensors of a batch go: what the model does to each before its first layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint import Skip

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch, BatchTensor, Graph, Op

_PASSING = ("view", "index", "identity", "cast", "concat", "dropout", "pool", "resample")
_LAYERS = ("linear-map", "recurrent", "attention", "matmul")


@dataclass(frozen=True)
class Route:
    """An input tensor and the ops that first compute with it.

    Attributes:
        tensor: the input.
        source: the op that stands for it in the graph; None where the graph does not show the input.
        first: the ops that its values reach unchanged, and take as content: not as a mask, nor as a first state.
        passed: the ops in between: views, casts, concatenations.
    """

    tensor: BatchTensor
    source: Op | None
    first: tuple[Op, ...]
    passed: tuple[Op, ...]

    @property
    def layers(self) -> tuple[Op, ...]:
        """The layers with weights among the first ops."""
        return tuple(op for op in self.first if op.is_kind(*_LAYERS))

    @property
    def takers(self) -> tuple[Op, ...]:
        """The layers, norms and tables (embeddings) among the first ops."""
        return tuple(op for op in self.first if op.is_kind(*_LAYERS, "embedding", "norm"))

    @property
    def feeds_layers(self) -> bool:
        """Whether the values go into layers as they are, past no norm and no arithmetic that could scale them."""
        return bool(self.layers) and not any(op.is_kind("norm", "mul", "div", "sub") for op in self.first)


def routes(batch: Batch, graph: Graph) -> tuple[Route, ...]:
    """The route of every input of the batch; sparse ones (adjacency matrices) and nested ones are no features.

    Raises:
        Skip: the samples of no input can be compared.
    """
    if batch.inputs and not any(tensor.is_dense for tensor in batch.inputs):
        raise Skip("the inputs are sparse or nested: their samples have no common shape")
    return tuple(_route(tensor, op) for tensor, op in _matched(batch, graph) if tensor.is_dense)


def origin(ids: Tensor, batch: Batch) -> tuple[str, bool]:
    """Which input or target holds these indices, and whether it is a list of edges, (2, edges) or (edges, 2)."""
    wanted = set(ids.unique().tolist())
    given = [tensor for tensor in (*batch.inputs, *batch.targets) if tensor.is_integer and tensor.is_dense and tensor.shape]
    held = [(tensor, set(tensor.tensor.unique().tolist())) for tensor in given]
    same = next((tensor for tensor, values in held if values == wanted), None)
    found = same or next((tensor for tensor, values in held if values >= wanted), None)
    if found is None:
        return "its input", False
    return found.name, len(found.shape) == 2 and 2 in found.shape and max(found.shape) > 2


def _matched(batch: Batch, graph: Graph) -> Iterator[tuple[BatchTensor, Op | None]]:
    """Inputs of the batch with the graph's: by key where the batch is a dict, else by order, as long as shapes agree."""
    given = list(graph.inputs)
    for position, tensor in enumerate(batch.inputs):
        named = next((op for op in given if tensor.name.endswith(f"[{op.label!r}]")), None)
        found = named or (given[position] if position < len(given) else None)
        if found is not None and found.shape is not None and found.shape != tensor.shape:
            found = None
        yield tensor, found


def _route(tensor: BatchTensor, source: Op | None) -> Route:
    first: dict[int, Op] = {}
    passed: dict[int, Op] = {}
    waiting = [(source, user) for user in source.users] if source is not None else []
    while waiting:
        given, op = waiting.pop()
        if op.index in first or op.index in passed:
            continue
        if op.is_kind(*_PASSING) and not _is_subscript(op, given):
            passed[op.index] = op
            waiting.extend((op, user) for user in op.users)
        elif _is_content(op, given) and not _is_subscript(op, given):
            first[op.index] = op
    return Route(
        tensor,
        source,
        first=tuple(first[index] for index in sorted(first)),
        passed=tuple(passed[index] for index in sorted(passed)),
    )


def _is_subscript(op: Op, given: Op) -> bool:
    """Whether the value says which entries an op takes, and is not what they are taken from."""
    return op.is_kind("index") and bool(op.inputs) and given is not op.inputs[0]


def _is_content(op: Op, given: Op) -> bool:
    """Whether an attention or a recurrent layer takes a value as content: not as its mask, nor as its first state."""
    if op.is_kind("attention"):
        return given not in (op.argument("attn_mask"), op.argument("key_padding_mask"))
    return not op.is_kind("recurrent") or given is op.activations[0]
