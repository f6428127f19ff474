"""A call that raised for its indices: what it was asked for. The graph ends before it, so that it is no op."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnlint import kinds
from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from nnlint.capture.modules import ModuleCall
    from nnlint.finding import Location

#: One index tensor, the size of the axis that it indexes, and that axis; None where the size is a count of classes.
_Index = tuple[torch.Tensor, int, int | None]
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class RefusedLookup:
    """A call that raised because an index is outside of what it indexes.

    Attributes:
        module_path, location: the innermost module being called, and the user's line.
        label: what to call it in a message.
        ids: the tensor of indices, as given.
        rows: how many entries the indexed axis has.
        op: canonical name of the call ("embedding", "gather").
        axis: the axis that is indexed; None for a table of an embedding, and where the size is a count of classes (one_hot).
        shape: of the tensor that is indexed; empty for one_hot.
        parameter: whether that tensor is a parameter: a table of rows.
        wraps: whether a negative index counts from the end.
    """

    module_path: str
    location: Location | None
    label: str
    ids: torch.Tensor
    rows: int
    op: str = "embedding"
    axis: int | None = None
    shape: tuple[int, ...] = ()
    parameter: bool = True
    wraps: bool = False

    @property
    def outside(self) -> int:
        """How many of the ids the table has no row for."""
        lowest = -self.rows if self.wraps else 0
        return int(((self.ids < lowest) | (self.ids >= self.rows)).sum())


def refused_lookup(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], call: ModuleCall | None, location: Location | None
) -> RefusedLookup | None:
    """The lookup that raised, by the canonical name and arguments of the call; None where no index of it is out of range."""
    if "embedding" in kinds.info(name).kinds:
        return _table(name, args, kwargs, call, location)
    read = _READERS.get(name)
    wraps = name in _WRAPPING
    for ids, size, axis in read(args, kwargs) if read is not None else ():
        source = args[0] if args and isinstance(args[0], torch.Tensor) and axis is not None else None
        path, kind = (call.path, call.type_name) if call is not None else ("", "")
        place = path or kind or (location.function if location is not None else "")
        shape = tuple(source.shape) if source is not None else ()
        of_model = isinstance(source, torch.nn.Parameter)
        label = f"{_SPELLED.get(name, name)} in {place}" if place else _SPELLED.get(name, name)
        found = RefusedLookup(path, location, label, ids.detach(), size, name, axis, shape, of_model, wraps)
        if found.outside:
            return found
    return None


def is_lookup(name: str) -> bool:
    """Whether a call of this canonical name reads or writes entries by index."""
    return name in _READERS or "embedding" in kinds.info(name).kinds


def _table(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], call: ModuleCall | None, location: Location | None
) -> RefusedLookup | None:
    """A lookup of any of torch's embedding functions: they differ in the order of arguments, not in their dtypes."""
    tensors = [tensor for _, tensor in tensor_leaves((args, kwargs), depth=2)]
    ids = next((tensor for tensor in tensors if tensor.dtype in (torch.int32, torch.int64)), None)
    table = next((tensor for tensor in tensors if tensor.is_floating_point() and tensor.dim() == 2), None)
    if ids is None or table is None or not _has_values(ids):
        return None
    path, kind = (call.path, call.type_name) if call is not None else ("", "")
    label = f"{path} ({kind})" if call is not None and call.is_torch_layer else f"the embedding in {path or kind}"
    return RefusedLookup(path, location, label, ids.detach(), len(table), name, shape=tuple(table.shape))


def _has_values(ids: Any) -> bool:
    return isinstance(ids, torch.Tensor) and ids.dtype in _INTEGERS and ids.numel() > 0 and ids.device.type != "meta"


def _along(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[_Index]:
    """gather, scatter, index_select, index_add and their kin: (tensor, dim, index, ...), by position or keyword."""
    ids = next((value for value in (*args[1:3], *map(kwargs.get, ("index", "indices"))) if _has_values(value)), None)
    dim = next((value for value in (*args[1:3], kwargs.get("dim")) if isinstance(value, int)), None)
    if ids is not None and dim is not None and args and isinstance(args[0], torch.Tensor) and args[0].dim():
        axis = dim % args[0].dim()
        yield ids, args[0].shape[axis], axis


def _subscript(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[_Index]:
    """`x[...]`, read or written: which axis each index tensor counts along."""
    source, index = args[0], args[1]
    if not isinstance(source, torch.Tensor):
        return
    parts = list(index) if isinstance(index, tuple) else [index]
    taken = sum(_axes_of(part) for part in parts)
    axis = 0
    for part in parts:
        if part is Ellipsis:
            axis += source.dim() - taken
        elif _has_values(part) and part.dtype is not torch.uint8 and axis < source.dim():
            yield part, source.shape[axis], axis
        axis += _axes_of(part)


def _axes_of(part: Any) -> int:
    """How many axes of a tensor one part of a subscript uses up."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.dim() if isinstance(part, torch.Tensor) and part.dtype in (torch.bool, torch.uint8) else 1


def _put(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[_Index]:
    """index_put(x, (indices, ...), values)."""
    return _subscript((args[0], tuple(args[1])), kwargs) if len(args) > 1 else iter(())


def _flat(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[_Index]:
    """take(x, index): an index into all entries of x."""
    ids = args[1] if len(args) > 1 else kwargs.get("index")
    if isinstance(ids, torch.Tensor) and _has_values(ids) and isinstance(args[0], torch.Tensor):
        yield ids, args[0].numel(), 0


def _classes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[_Index]:
    """one_hot(x, num_classes)."""
    count = args[1] if len(args) > 1 else kwargs.get("num_classes", -1)
    if args and _has_values(args[0]) and isinstance(count, int):
        yield args[0], count if count > 0 else int(args[0].max()) + 1, None


_Reader = Callable[[tuple[Any, ...], dict[str, Any]], Iterator[_Index]]
_READERS: dict[str, _Reader] = {
    **dict.fromkeys(("gather", "take_along_dim", "index_select", "index_add", "index_copy", "index_fill", "index_reduce"), _along),
    **dict.fromkeys(("scatter", "scatter_add", "scatter_reduce"), _along),
    "getitem": _subscript,
    "setitem": _subscript,
    "index_put": _put,
    "take": _flat,
    "one_hot": _classes,
}  # fmt: skip
#: Where -1 is the last entry; the others refuse it.
_WRAPPING = frozenset({"getitem", "setitem", "index_put", "take", "take_along_dim"})
_SPELLED = {"getitem": "the indexing", "setitem": "the indexed assignment"}
