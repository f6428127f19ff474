"""Transfer rules for what sums over an axis: linear, matmul, einsum, convolutions, pooling, embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from nnlint.capture.axes.answers import Contraction, OpAxes
from nnlint.capture.axes.axis import Dim, best_of, size_of
from nnlint.capture.axes.call import Call

Transfer = Callable[[Call], OpAxes]


def linear(call: Call) -> OpAxes:
    """The last dimension is contracted with a weight and replaced by features."""
    dims = call.first.dims
    if not dims:
        return call.made(call.unknown(call.shape))
    node = call.tensor(0, "input") or call.tensors[0]
    summed = Contraction(dims[-1], call.maker(node))
    call.name(dims[-1], "feature")
    out = [call.new(call.shape[-1], "feature")] if len(call.shape) == len(dims) else []  # a weight may be a vector
    return call.made([*dims[:-1], *out], contracted=(summed,))


def bilinear(call: Call) -> OpAxes:
    """Two last dimensions contracted."""
    nodes = call.tensors[:2]
    summed = tuple(Contraction(call.of(node).dims[-1], call.maker(node)) for node in nodes)
    return call.made([*call.first.dims[:-1], call.new(call.shape[-1], "feature")], contracted=summed)


def matmul(call: Call) -> OpAxes:
    """matmul, mm, bmm, mv, dot, and the `add...` forms whose first tensor is added."""
    nodes = call.tensors
    if len(nodes) == 1:
        nodes = [nodes[0], nodes[0]]  # x @ x
    if call.spelled in _ADDED and len(nodes) > 2:
        nodes = nodes[1:]
    if call.spelled == "rmatmul":
        nodes = nodes[::-1]
    if len(nodes) < 2:
        return call.made(call.unknown(call.shape))
    left, right = call.of(nodes[0]), call.of(nodes[1])
    if not left.dims or not right.dims:
        return call.made(call.unknown(call.shape))
    below = right.dims[-2] if len(right.dims) > 1 else right.dims[-1]
    summed = Contraction(left.dims[-1], call.maker(nodes[0]), below, call.maker(nodes[1]))
    batch = call.aligned([OpAxes(left.dims[:-2]), OpAxes(right.dims[:-2])])
    rows = left.dims[-2:-1] if len(left.dims) > 1 else ()
    columns = right.dims[-1:] if len(right.dims) > 1 else ()
    columns = tuple(_named(call, dim, right) for dim in columns)
    return call.made([*batch, *rows, *columns], contracted=(summed,))


_ADDED = frozenset({"baddbmm", "addmm", "addbmm", "addmv"})


def _named(call: Call, dim: Dim, of: OpAxes) -> Dim:
    """An output dimension; one that a weight brings is a new axis of features."""
    return dim if of.data else call.new(size_of(dim), "feature")


def outer(call: Call) -> OpAxes:
    """The dimensions of both."""
    values = [call.of(node) for node in call.tensors] * (2 if len(call.tensors) == 1 else 1)
    return call.made([dim for value in values[:2] for dim in value.dims])


def tensordot(call: Call) -> OpAxes:
    """Contracts the named dimensions of both."""
    nodes = call.tensors
    dims = call.arg(2, "dims", 2)
    if len(nodes) != 2:
        return call.made(call.unknown(call.shape))
    left, right = (call.of(node) for node in nodes)
    if isinstance(dims, int):
        pairs = [(len(left.dims) - dims + index, index) for index in range(dims)]
    elif isinstance(dims, (list, tuple)) and len(dims) == 2:
        ends = [dim if isinstance(dim, (list, tuple)) else [dim] for dim in dims]
        pairs = [(a % len(left.dims), b % len(right.dims)) for a, b in zip(*ends, strict=False)]
    else:
        return call.made(call.unknown(call.shape))
    gone, taken = {a for a, _ in pairs}, {b for _, b in pairs}
    kept = [dim for index, dim in enumerate(left.dims) if index not in gone]
    kept += [_named(call, dim, right) for index, dim in enumerate(right.dims) if index not in taken]
    makers = [call.maker(node) for node in nodes]
    summed = tuple(Contraction(left.dims[a], makers[0], right.dims[b], makers[1]) for a, b in pairs)
    return call.made(kept, contracted=summed)


# -------------------------------------------------------------------- einsum


def einsum(call: Call) -> OpAxes:
    """Letters are dimensions: those that the output lacks are summed over."""
    parsed = _letters(call)
    if parsed is None:
        return call.made(call.unknown(call.shape))
    terms, output = parsed
    nodes = _operands(call)
    held: dict[str, list[tuple[Dim, Any]]] = {}
    for term, node in zip(terms, nodes, strict=False):
        dims = call.of(node).dims
        if len(term) != len(dims):
            return call.made(call.unknown(call.shape))
        for letter, dim in zip(term, dims, strict=True):
            held.setdefault(letter, []).append((dim, node))
    if any(letter not in held for letter in output):
        return call.made(call.unknown(call.shape))
    dims = tuple(_letter_dim(call, held[letter]) for letter in output)
    return call.made(dims, contracted=tuple(_summed(call, held, output)))


def _operands(call: Call) -> list[Any]:
    given = call.args[1:]
    if len(given) == 1 and isinstance(given[0], (list, tuple)):
        given = given[0]
    return [node for node in given if call.has(node)]


def _letters(call: Call) -> tuple[list[str], str] | None:
    """The terms with an ellipsis spelled out by digits, and the output."""
    equation = call.args[0] if call.args else None
    if not isinstance(equation, str):
        return None
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    nodes = _operands(call)
    if len(terms) != len(nodes):
        return None
    extra = [len(call.of(node).dims) - len(term.replace("...", "")) for term, node in zip(terms, nodes, strict=True)]
    widest = max((count for term, count in zip(terms, extra, strict=True) if "..." in term), default=0)
    names = "0123456789"[:widest]
    full = [term.replace("...", names[widest - count :]) for term, count in zip(terms, extra, strict=True)]
    if not arrow:
        once = [
            letter for letter in sorted(set("".join(full))) if "".join(full).count(letter) == 1 and letter.isalpha()
        ]
        output = "..." + "".join(once)
    return full, output.replace("...", names)


def _letter_dim(call: Call, held: list[tuple[Dim, Any]]) -> Dim:
    dim = best_of([dim for dim, _ in held])
    weight = not any(call.of(node).data for _, node in held)
    return call.new(size_of(dim), "feature") if weight and dim else dim


def _summed(call: Call, held: dict[str, list[tuple[Dim, Any]]], output: str) -> Iterator[Contraction]:
    for letter, uses in held.items():
        if letter in output:
            continue
        dim, node = uses[0]
        if len(uses) > 1:
            yield Contraction(dim, call.maker(node), uses[1][0], call.maker(uses[1][1]))
        else:
            yield Contraction(dim, call.maker(node))


# -------------------------------------------------------------------- convolutions and maps

_PLACES: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {1: ("time",), 2: ("height", "width"), 3: ("depth", "height", "width")}
)


def convolution(call: Call) -> OpAxes:
    """(N, C, *places): channels are contracted, places keep their axis or one with the same root."""
    dims = call.first.dims
    places = len(call.shape) - (2 if len(call.shape) == _rank(call.spelled) + 2 else 1)
    before = dims[: len(dims) - places - 1]
    node = call.tensor(0, "input") or call.tensors[0]
    summed = tuple(Contraction(dim, call.maker(node)) for dim in dims[len(before) :])
    channel = call.new(call.shape[len(before)], "channel")
    for dim, role in zip(dims[len(before) :], ("channel", *_PLACES.get(places, ("",) * places)), strict=True):
        call.name(dim, role)
    return call.made([*before, channel, *_resized(call, places)], contracted=summed)


def _rank(name: str) -> int:
    return next((int(char) for char in name if char in "123"), 2)


def places_resized(call: Call) -> OpAxes:
    """Pooling and interpolation: the last dimensions are places of another number."""
    dims = call.first.dims
    count = _rank(call.spelled) if call.spelled[-1] == "d" or "d_with" in call.spelled else len(dims) - 2
    count = max(0, min(count, len(dims) - 1))
    found = [*dims[: len(dims) - count], *_resized(call, count)]
    return call.made(found, parts=lambda path, shape: tuple(found))


def _resized(call: Call, count: int) -> list[Dim]:
    if not count:
        return []
    dims, shape = call.first.dims[-count:], call.shape[-count:]
    roles = _PLACES.get(count, ("",) * count)
    return [call.derived(dim, size, role) for dim, size, role in zip(dims, shape, roles, strict=True)]


def grid_sample(call: Call) -> OpAxes:
    """(N, C) of the input, places of the grid."""
    dims, grid = call.first.dims, call.tensor(1, "grid")
    if grid is None:
        return call.made(call.unknown(call.shape))
    return call.made([*dims[:2], *call.of(grid).dims[1:-1]])


def embedding(call: Call) -> OpAxes:
    """Each id becomes a vector of features; the table's rows are no axis of the value."""
    nodes = [node for node in call.tensors if not call.maker(node).is_kind("parameter")] or call.tensors
    ids = call.tensor(0, "input") if call.spelled == "embedding" else nodes[0]
    ids = ids if ids is not None else nodes[0]
    if len(call.of(ids).dims) == 2:
        call.name(call.of(ids).dims[1], "time")
    if call.spelled == "embedding_bag":
        return call.made([*call.of(ids).dims[: len(call.shape) - 1], call.new(call.shape[-1], "feature")])
    return call.made([*call.of(ids).dims, call.new(call.shape[-1], "feature")])


def distances(call: Call) -> OpAxes:
    """cdist: (..., P, M) and (..., R, M) to (..., P, R)."""
    nodes = call.tensors[:2] if len(call.tensors) > 1 else call.tensors * 2
    left, right = (call.of(node) for node in nodes)
    summed = Contraction(left.dims[-1], call.maker(nodes[0]), right.dims[-1], call.maker(nodes[1]))
    batch = call.aligned([OpAxes(left.dims[:-2]), OpAxes(right.dims[:-2])])
    return call.made([*batch, left.dims[-2], right.dims[-2]], contracted=(summed,))


def similarity(call: Call) -> OpAxes:
    """cosine_similarity, pairwise_distance: the two broadcast, one dimension goes."""
    aligned = call.aligned(map(call.of, call.tensors[:2]))
    default = 1 if call.spelled == "cosine_similarity" else -1
    at = call.dim(call.arg(2, "dim", default) if call.spelled == "cosine_similarity" else default, len(aligned))
    return call.made([dim for index, dim in enumerate(aligned) if index != at])


_POOLS = [f"{kind}_pool{rank}d" for kind in ("max", "avg", "lp", "adaptive_max", "adaptive_avg") for rank in (1, 2, 3)]
_POOLS += [f"{kind}_pool{rank}d_with_indices" for kind in ("max", "adaptive_max") for rank in (1, 2, 3)]

RULES: Mapping[str, Transfer] = MappingProxyType(
    {
        "linear": linear,
        "bilinear": bilinear,
        **dict.fromkeys(("matmul", "rmatmul", "mm", "spmm", "bmm", "mv", "dot", "vdot", "baddbmm", "addmm", "addmv"), matmul),
        **dict.fromkeys(("outer", "ger"), outer),
        "tensordot": tensordot,
        "einsum": einsum,
        **{f"conv{way}{rank}d": convolution for way in ("", "_transpose") for rank in (1, 2, 3)},
        **dict.fromkeys(_POOLS, places_resized),
        **dict.fromkeys(("interpolate", "upsample", "max_unpool2d", "fractional_max_pool2d"), places_resized),
        "grid_sample": grid_sample,
        **dict.fromkeys(("embedding", "embedding_bag"), embedding),
        "cdist": distances,
        **dict.fromkeys(("cosine_similarity", "pairwise_distance"), similarity),
    }
)
