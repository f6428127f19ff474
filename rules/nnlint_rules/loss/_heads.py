"""What reaches a loss: the ops between the last layer and the loss function, and which values they can take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlint.kinds import VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Graph, MeasuredLoss, Op

#: A clamp keeps the values that matter: probabilities clamped away from 0 and 1 are probabilities still.
SQUASHED_THROUGH = VALUE_PRESERVING | {"clamp"}
#: Averages of probabilities are probabilities: of the members of an ensemble, of the positions of a map.
AVERAGES = ("mean", "avg-pool")
_SUM_TO_ONE = 1e-4  # departure of a row's sum from 1 that rounding explains; in half precision the epsilon of its type
_ENTRIES = 1 << 22  # of a tensor of predictions or targets that are looked at
_COMPARING = ("cdist", "sub", "pairwise_distance", "cosine_similarity")
#: Ops that end the walk back from the loss: what is before them is the body of the net.
_BODY = ("linear-map", "matmul", "recurrent", "attention", "embedding", "norm", "input", "parameter", "buffer")


def are_distributions(call: MeasuredLoss) -> bool:
    """Whether the rows of a prediction are probabilities that sum to one, whatever op made them."""
    import torch

    values = call.prediction_value
    if values is None or values.dim() < 2 or values.shape[call.class_dim] < 2:
        return False
    rows = thinned(values).movedim(call.class_dim, -1).reshape(-1, values.shape[call.class_dim])
    if len(rows) < 2 or not bool(torch.isfinite(rows).all()) or bool((rows < 0).any()) or bool((rows == rows[0]).all()):
        return False
    rounding = max(_SUM_TO_ONE, torch.finfo(values.dtype).eps) if values.is_floating_point() else _SUM_TO_ONE
    return bool(((rows.float().sum(1) - 1).abs() < rounding).all())


def heads_of(graph: Graph, op: Op, through: frozenset[str] = SQUASHED_THROUGH) -> tuple[Op, ...]:
    """The ops whose values `op` hands on: one, or each part of a concatenation."""
    head = graph.producer(op, through=through)
    if head.is_kind("concat") and head.activations:
        parts = tuple(graph.producer(part, through=SQUASHED_THROUGH) for part in head.activations)
        return parts if len({part.name for part in parts}) == 1 else (head,)
    return (head,)


def tail(op: Op) -> frozenset[Op]:
    """`op` and the ops upstream of it that come after the last layers: nothing learnable is among them."""
    found: set[Op] = set()
    waiting = [op]
    while waiting:
        current = waiting.pop()
        if current in found or current.is_kind(*_BODY):
            continue
        found.add(current)
        waiting.extend(current.activations)
    return frozenset(found)


def last_layer(graph: Graph, op: Op) -> Op:
    """The nearest linear map upstream along first inputs: the layer that gives the logits; `op`'s producer without one."""
    layer = next(
        (found for found in graph.chain_back(op) if found.is_kind("linear-map", "recurrent", "embedding")), None
    )
    return layer if layer is not None else graph.producer(op)


def is_of_noise(op: Op) -> bool:
    """Whether logits are products of values with random numbers in them, and no weights of this op or between set their scale."""
    seen: set[Op] = set()
    waiting = [op]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.parameters or (current is not op and current.is_kind("linear-map", "norm", "input")):
            continue
        if current.is_kind("random"):
            return True
        waiting.extend(current.inputs)
    return False


def compares_samples(graph: Graph, op: Op) -> bool:
    """Whether the nearest product or difference upstream is of two computed things, each with a gradient: distances, similarities."""
    for current in graph.chain_back(op):
        both = sum(source.requires_grad for source in current.activations) > 1
        if both and (current.is_kind("matmul") or current.name in _COMPARING):
            return True
        if current.is_kind("linear-map", "recurrent", "attention", "embedding", "norm"):
            return False
    return False


def is_cosine(op: Op) -> bool:
    """Whether the nearest products upstream are of unit vectors: cosines, which a temperature or margin scales on purpose."""
    seen: set[Op] = set()
    waiting = [op]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.is_kind("linear-map", "matmul"):
            if any(_is_unit(source) for source in current.inputs):
                return True
        elif not current.is_kind("recurrent", "attention", "embedding", "norm"):
            waiting.extend(current.activations)
    return False


def _is_unit(op: Op) -> bool:
    """Whether the values are vectors divided by their own length."""
    while op.is_kind("view", "identity", "cast", "index") and op.activations:
        op = op.activations[0]
    lengths = ("norm", "vector_norm", "linalg_vector_norm", "linalg_norm")
    return op.is_kind("unit-norm") or (op.name == "div" and any(part.name in lengths for part in op.inputs[1:]))


def is_made_by_model(graph: Graph, op: Op | None) -> bool:
    """Whether the values depend on parameters: the target of a loss between two outputs, not one of the data."""
    return op is not None and any(found.parameters for found in (op, *graph.ancestors(op)))


def softmax_dim(op: Op) -> int | None:
    """The dimension that a softmax (or `normalize`) runs over, without sign; the one torch picks where none is given."""
    rank = len(op.shape) if op.shape is not None else 0
    dim = op.argument("dim", {"normalize": 1, "gumbel_softmax": -1}.get(op.name))
    if dim is None:
        dim = 0 if rank in (0, 1, 3) else 1
    return dim % rank if rank and isinstance(dim, int) and -rank <= dim < rank else None


def class_dim(shape: tuple[int, ...]) -> int:
    """The dimension of the classes, as torch's classification losses take it."""
    return 0 if len(shape) == 1 else 1


def thinned(values: Any) -> Any:
    """Every n-th entry of the first dimension, in double precision: a language model's logits need not all be looked at."""
    step = max(1, values.numel() // _ENTRIES) if values.dim() else 1
    return (values[::step] if values.dim() else values).double()


def class_count(call: MeasuredLoss) -> int | None:
    """Number of logits per decision of a classification loss."""
    shape = call.prediction.shape if call.prediction is not None else None
    return shape[call.class_dim] if shape else None


def counted_targets(call: MeasuredLoss) -> Any:
    """The class indices that count, flat: without those equal to ignore_index. None where they are not indices."""
    values = call.target_value
    if values is None or values.is_floating_point():
        return None
    flat = values.reshape(-1)
    return flat[flat != call.argument("ignore_index", -100)]
