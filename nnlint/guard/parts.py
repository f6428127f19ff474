"""Tensors that are made of other tensors: sparse, nested, wrapper subclasses (DTensor). Their bytes lie in their parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnlint.capture.torch_private import nested_over, nested_shape, sparse_parts, storage_identity

_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
    torch.sparse_bsc: ("ccol_indices", "row_indices"),
}


@dataclass(frozen=True)
class Parts:
    """The strided tensors that a sparse or nested tensor consists of, and how to make it of them again.

    Attributes:
        tensors: aliases of the parts, not copies: whoever keeps their bytes keeps the whole.
        form: what else tells the tensor apart: its size, whether its indices are sorted.
        rebuild: a new tensor over the same parts.
    """

    tensors: tuple[Tensor, ...]
    form: tuple[Any, ...]
    rebuild: Callable[[], Tensor]

    @classmethod
    def of(cls, tensor: Tensor) -> Parts | None:
        """The parts of a tensor; None for one that is not sparse or nested, or does not show its parts."""
        if tensor.is_meta:
            return None
        plain = tensor.detach()
        with suppress(RuntimeError, NotImplementedError):
            if tensor.layout is torch.sparse_coo:
                return cls._coo(plain)
            if tensor.layout in _COMPRESSED:
                return cls._compressed(plain)
            if tensor.is_nested and tensor.layout is torch.strided and type(plain) is Tensor:
                return cls._nested(plain)
        return None

    @classmethod
    def _coo(cls, plain: Tensor) -> Parts:
        (indices, values), coalesced = sparse_parts(plain), plain.is_coalesced()
        size = tuple(plain.shape)

        def rebuild() -> Tensor:
            return torch.sparse_coo_tensor(indices, values, size, is_coalesced=coalesced, check_invariants=False)

        return cls((indices, values), (size, coalesced), rebuild)

    @classmethod
    def _compressed(cls, plain: Tensor) -> Parts:
        outer, inner = (getattr(plain, name)() for name in _COMPRESSED[plain.layout])
        values, size, layout = plain.values(), tuple(plain.shape), plain.layout

        def rebuild() -> Tensor:
            return torch.sparse_compressed_tensor(outer, inner, values, size, layout=layout, check_invariants=False)

        return cls((outer, inner, values), (size,), rebuild)

    @classmethod
    def _nested(cls, plain: Any) -> Parts:
        buffer = plain.values()
        shape = nested_shape(plain)

        def rebuild() -> Tensor:
            return nested_over(buffer, shape)

        return cls((buffer,), tuple(part.tolist() for part in shape), rebuild)

    def are_those_of(self, tensor: Tensor) -> bool:
        """Whether a tensor still lies in these very parts (whatever their bytes are)."""
        now = Parts.of(tensor)
        return now is not None and now.form == self.form and all(map(_same_place, now.tensors, self.tensors))

    def put_back(self, tensor: Tensor) -> None:
        """Let the tensor lie in these parts again."""
        if self.are_those_of(tensor):
            return
        whole = self.rebuild()
        tensor.data = whole
        if tensor.layout in _COMPRESSED and not self.are_those_of(tensor):  # torch ignores `.data` of these
            tensor.resize_as_sparse_(whole).copy_(whole)


def _same_place(one: Tensor, other: Tensor) -> bool:
    same_storage = storage_identity(one.untyped_storage()) == storage_identity(other.untyped_storage())
    return same_storage and one.shape == other.shape and one.stride() == other.stride()


def inner_tensors(tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a tensor subclass holds, by name: what it flattens to, its attributes and its slots."""
    kind = type(tensor)
    if kind in (Tensor, torch.nn.Parameter):
        return
    names = dict.fromkeys(vars(tensor))
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        names |= dict.fromkeys((slots,) if isinstance(slots, str) else slots)
    flatten = getattr(kind, "__tensor_flatten__", None)
    if flatten is not None:
        with suppress(Exception):  # the subclass's own code
            names |= dict.fromkeys(flatten(tensor)[0])
    for name in names:
        with suppress(Exception):
            found = getattr(tensor, name)
            if isinstance(found, Tensor):
                yield name, found
