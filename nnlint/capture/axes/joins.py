"""Transfer rules for ops that join, cut and pick: cat, stack, chunk, indexing, gather, scatter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nnlint.capture.axes.answers import OpAxes, Picked, Selection
from nnlint.capture.axes.axis import CONSTANT, DATA, PIECE, REPEATED, Dim, axes_in, best_of, roots_of, size_of, whole
from nnlint.capture.axes.call import Call

Transfer = Callable[[Call], OpAxes]


def cat(call: Call) -> OpAxes:
    """One dimension is the others' one after the other: pieces of one axis are a new axis times that one, others keep their roots."""
    values = [call.of(node) for node in _listed(call)]
    values = [value for value in values if len(value.dims) == len(call.shape)]
    if not values:
        return call.made(call.unknown(call.shape))
    at = call.dim(call.arg(1, "dim", call.kwargs.get("axis", 0)), len(call.shape))
    at = {"hstack": min(1, len(call.shape) - 1), "vstack": 0, "dstack": 2}.get(call.spelled, at)
    if at is None:
        return call.made(call.unknown(call.shape))
    dims = [best_of([value.dims[index] for value in values]) for index in range(len(call.shape)) if index != at]
    return call.made([*dims[:at], _joined(call, [value.dims[at] for value in values], call.shape[at]), *dims[at:]])


def _joined(call: Call, parts: Sequence[Dim], size: int) -> Dim:
    longest = max(parts, key=size_of)
    if size_of(longest) == size:
        return longest
    if longest and all(part == longest for part in parts):
        return (*call.new(len(parts), PIECE), *longest)
    axes = axes_in(parts)
    roots = frozenset(root for part in parts for root in roots_of(part))
    roles = {axis.role for axis in axes if axis.origin not in (CONSTANT, REPEATED)}
    origin = max(axes, key=lambda axis: axis.rank).origin if axes else "data"
    return whole(call.axis(size, roles.pop() if len(roles) == 1 else "", origin=origin, roots=roots))


def _listed(call: Call) -> list[Any]:
    given = call.arg(0, "tensors")
    listed = given if isinstance(given, (list, tuple)) else call.tensors
    return [node for node in listed if call.has(node)]


def stack(call: Call) -> OpAxes:
    """A new axis of the things stacked; steps of a loop come back as the axis they were taken from."""
    values = [call.of(node) for node in _listed(call)]
    at = call.dim(call.arg(1, "dim", 0), len(call.shape))
    if not values or at is None or any(len(value.dims) != len(call.shape) - 1 for value in values):
        return call.made(call.unknown(call.shape))
    dims = call.aligned(values)
    return call.made([*dims[:at], call.new(call.shape[at]), *dims[at:]])


def spread(call: Call) -> OpAxes:
    """broadcast_tensors: all inputs broadcast against each other; meshgrid: every output has the axes of all."""
    nodes = _listed(call)
    values = [call.of(node) for node in nodes]
    if call.spelled == "broadcast_tensors":
        dims = call.aligned(values)
    else:
        dims = tuple(dim for value in values for dim in value.dims)
        if call.kwargs.get("indexing") == "xy" and len(dims) > 1:
            dims = (dims[1], dims[0], *dims[2:])
    return call.made(dims, parts=lambda path, shape: dims if len(dims) == len(shape) else None)


def pad(call: Call) -> OpAxes:
    """Longer dimensions with the same roots."""
    pairs = zip(call.first.dims, call.shape, strict=False)
    return call.made([call.derived(dim, size) if dim else call.new(size) for dim, size in pairs])


def parts(call: Call) -> OpAxes:
    """Chunk and split: parts of one dimension; unbind: the dimension goes."""
    dims = call.first.dims
    name = call.spelled
    at = call.dim(
        call.arg(1 if name in ("unbind", "iter") else 2, "dim", {"hsplit": 1, "dsplit": 2}.get(name, 0)), len(dims)
    )

    def part(path: tuple[object, ...], shape: tuple[int, ...]) -> tuple[Dim, ...] | None:
        if at is None:
            return None
        if len(shape) == len(dims) - 1:
            return (*dims[:at], *dims[at + 1 :])
        if len(shape) != len(dims):
            return None
        return (*dims[:at], call.derived(dims[at], shape[at]), *dims[at + 1 :])

    made = part((), call.shape)
    apart = Selection(at, dims[at], 0) if at is not None and name in ("unbind", "iter") else None
    return call.made(made if made is not None else call.unknown(call.shape), parts=part, unbound=apart)


# -------------------------------------------------------------------- one entry, a slice, a list of entries


def select(call: Call) -> OpAxes:
    """`select(dim, index)`."""
    dims = call.first.dims
    at, entry = call.dim(call.arg(1, "dim"), len(dims)), call.arg(2, "index")
    if at is None:
        return call.made(call.unknown(call.shape))
    chosen = (Selection(at, dims[at], entry),) if isinstance(entry, int) else ()
    return call.made([*dims[:at], *dims[at + 1 :]], selected=chosen)


def narrow(call: Call) -> OpAxes:
    """narrow, index_select: some entries of one dimension."""
    dims = call.first.dims
    at = call.dim(call.arg(1, "dim"), len(dims))
    if at is None or len(call.shape) != len(dims):
        return call.made(call.unknown(call.shape))
    start = call.arg(2, "start")
    only = call.spelled == "narrow" and call.shape[at] == 1 < size_of(dims[at]) and isinstance(start, int)
    taken = (Selection(at, dims[at], start, kept=True),) if only else ()
    return call.made([*dims[:at], call.derived(dims[at], call.shape[at]), *dims[at + 1 :]], selected=taken)


def gather(call: Call) -> OpAxes:
    """Gather and take_along_dim: the index's shape; along `dim` entries of the input, elsewhere its own axes."""
    index = call.tensor(2, "index", "indices") or call.tensor(1, "indices")
    dims = call.first.dims
    given = call.arg(2, "dim") if call.spelled == "take_along_dim" else call.arg(1, "dim")
    at = call.dim(given, len(dims))
    if index is None or at is None or len(dims) != len(call.shape):
        return call.made(call.unknown(call.shape))
    asked = call.of(index).dims
    found = []
    for place, size in enumerate(call.shape):
        own, other = dims[place], asked[place] if len(asked) == len(dims) else ()
        if place == at:
            known = size_of(other) == size and all(axis.origin == DATA for axis in axes_in([other]))
            found.append(other if known and size != size_of(own) else call.derived(own, size))
        else:
            fitting = [dim for dim in (own, other) if size_of(dim) == size]
            found.append(best_of(fitting) if fitting else call.derived(own, size))
    return call.made(found)


def taken(call: Call) -> OpAxes:
    """take: the index's axes."""
    index = call.tensor(1, "index")
    return call.made(call.of(index).dims if index is not None else call.unknown(call.shape))


def scattered(call: Call) -> OpAxes:
    """scatter, index_add, ...: the axes of the value written to, those of what is written where it had none."""
    dims = list(call.first.dims)
    source = call.tensor(3, "src", "source")
    at = call.dim(call.arg(1, "dim"), len(dims))
    if source is not None and len(call.of(source).dims) == len(dims):
        for place, other in enumerate(call.of(source).dims):
            if place != at and size_of(other) == size_of(dims[place]):
                dims[place] = best_of([dims[place], other])
    return call.made(dims)


def diagonal(call: Call) -> OpAxes:
    """The diagonal stands last."""
    dims = call.first.dims
    if len(dims) < 2 or not call.shape:
        return call.made([*dims, *dims] if len(dims) == 1 else call.unknown(call.shape))
    one = call.dim(call.arg(2, "dim1", 0), len(dims))
    other = call.dim(call.arg(3, "dim2", 1), len(dims))
    if one is None or other is None:
        return call.made(call.unknown(call.shape))
    rest = [dim for index, dim in enumerate(dims) if index not in (one, other)]
    return call.made([*rest, call.derived(dims[one], call.shape[-1])])


def getitem(call: Call) -> OpAxes:
    """`x[...]` with ints, slices, None, Ellipsis, tensors and masks."""
    if len(call.args) < 2:
        return call.made(call.unknown(call.shape))
    found = indexed(call, call.first.dims, call.args[1], call.shape)
    if found is None:
        return call.made(call.unknown(call.shape))
    dims, selected, picked = found
    return call.made(dims, selected=tuple(selected), picked=tuple(picked))


def indexed(
    call: Call, dims: Sequence[Dim], index: Any, shape: Sequence[int]
) -> tuple[list[Dim], list[Selection], list[Picked]] | None:
    """Dimensions of `x[index]`, the single entries it takes and what tensors pick; None where the index is not understood."""
    items = list(index) if isinstance(index, tuple) else [index]
    spelled = _spelled_out(call, items, len(dims))
    if spelled is None:
        return None
    out: list[Dim | None] = []
    selected: list[Selection] = []
    picked: list[tuple[int, Any]] = []  # place in `out` and the tensor
    by: list[Picked] = []
    at = 0
    for item in spelled:
        if item is None:
            out.append(())
        elif call.has(item):
            count = _masked(call, item)
            picked.append((len(out), (item, dims[at : at + count])))
            by.append(Picked(at, dims[at], call.maker(item)))
            out.append(None)
            at += count
        elif isinstance(item, (list, range)):
            picked.append((len(out), (item, dims[at : at + 1])))
            out.append(None)
            at += 1
        elif isinstance(item, slice):
            selected.extend(_only_entry(at, dims[at], item))
            out.append(dims[at])
            at += 1
        elif isinstance(item, int):
            selected.append(Selection(at, dims[at], item))
            at += 1
        else:
            return None
    return _placed(call, out, picked, shape), selected, by


def _only_entry(at: int, dim: Dim, part: slice) -> Iterator[Selection]:
    """The entry that a slice of one takes from a longer dimension."""
    bounds = (part.start, part.stop, part.step)
    if all(bound is None or isinstance(bound, int) for bound in bounds):
        entries = range(size_of(dim))[part]
        if len(entries) == 1 < size_of(dim):
            yield Selection(at, dim, part.start if part.start is not None else entries[0], kept=True)


def _spelled_out(call: Call, items: list[Any], rank: int) -> list[Any] | None:
    """The index with its ellipsis and missing trailing dimensions as full slices."""
    used = sum(_masked(call, item) if call.has(item) else item is not None and item is not Ellipsis for item in items)
    if used > rank:
        return None
    full = [slice(None)] * (rank - used)
    for place, item in enumerate(items):
        if item is Ellipsis:
            return [*items[:place], *full, *items[place + 1 :]]
    return [*items, *full]


def _masked(call: Call, item: Any) -> int:
    """How many dimensions a tensor in an index stands for: a mask for its own number, ids for one."""
    maker = call.maker(item)
    return max(1, len(maker.shape or ())) if maker.dtype in ("bool", "uint8") else 1


def _placed(call: Call, out: Sequence[Dim | None], picked: list[tuple[int, Any]], shape: Sequence[int]) -> list[Dim]:
    """The dimensions with those of the picking tensors where torch puts them, fitted to the recorded sizes."""
    rest = [dim for dim in out if dim is not None]
    if picked:
        places = [place for place, _ in picked]
        together = places == list(range(places[0], places[0] + len(places)))
        first = places[0] if together else 0
        wide = len(shape) - len(rest)
        rest[first:first] = _picked(call, picked, shape[first : first + wide])
    return [call.derived(dim, size) for dim, size in zip(rest, shape, strict=False)]


def _picked(call: Call, picked: list[tuple[int, Any]], shape: Sequence[int]) -> Iterator[Dim]:
    """Dimensions of entries picked by tensors: those of the ids; where they come from is their root."""
    ids = [item for _, (item, _) in picked if call.has(item) and call.maker(item).dtype not in ("bool", "uint8")]
    asked = call.aligned(call.of(item) for item in ids)
    taken = tuple(digit for _, (_, dims) in picked for dim in dims for digit in dim)
    for place, size in enumerate(shape):
        own = asked[place] if len(asked) == len(shape) else ()
        known = size_of(own) == size and own and all(axis.origin == "data" for axis in axes_in([own]))
        yield own if known else call.derived(taken, size) if len(shape) == 1 else call.new(size)


def setitem(call: Call) -> OpAxes:
    """`x[...] = y`, `index_put`, `copy`: x's axes, and y's where x was a constant."""
    dims = list(call.first.dims)
    value = call.tensor(2, "value")
    if value is None or call.spelled != "setitem" or all(axis.rank > 3 for axis in axes_in(dims)):
        return call.made(dims)
    index = call.args[1]
    items = _spelled_out(call, list(index) if isinstance(index, tuple) else [index], len(dims))
    if items is None or any(call.has(item) for item in items):
        return call.made(dims)
    kept = [at for at, item in enumerate([item for item in items if item is not None]) if isinstance(item, slice)]
    for at, other in zip(reversed(kept), reversed(call.of(value).dims), strict=False):
        if size_of(other) == size_of(dims[at]):
            dims[at] = best_of([dims[at], other])
    return call.made(dims)


RULES: Mapping[str, Transfer] = MappingProxyType(
    {
        **dict.fromkeys(("cat", "concat", "concatenate", "hstack", "vstack", "dstack"), cat),
        "stack": stack,
        **dict.fromkeys(("broadcast_tensors", "meshgrid"), spread),
        **dict.fromkeys(("pad", "constant_pad_nd"), pad),
        **dict.fromkeys(
            ("chunk", "split", "tensor_split", "unbind", "hsplit", "vsplit", "dsplit", "split_with_sizes", "iter"),
            parts,
        ),
        "select": select,
        **dict.fromkeys(("narrow", "index_select", "slice"), narrow),
        **dict.fromkeys(("gather", "take_along_dim"), gather),
        "take": taken,
        **dict.fromkeys(
            ("scatter", "scatter_add", "index_add", "index_copy", "scatter_reduce", "index_fill", "index_reduce"),
            scattered,
        ),
        **dict.fromkeys(("diagonal", "diag", "diag_embed"), diagonal),
        "getitem": getitem,
        **dict.fromkeys(("setitem", "index_put", "masked_scatter"), setitem),
    }
)
