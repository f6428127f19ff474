"""Inputs that a model cuts into patches, one position of attention for each: which axes it cuts, and the patches in another order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnlint.capture.axes.axis import Digit, Dim, roots_of
from nnlint.setup.inputs.names import named_inputs
from nnlint.tensors import map_tensors

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session

#: Positions that an order can be asked of.
_LEAST = 3
#: Tokens that may stand before the patches: class, distillation, registers.
_PREFIX = 8


@dataclass(frozen=True)
class Patches:
    """How one input is cut.

    Attributes:
        name: of the input.
        sizes: axis of the input -> entries of a patch along it.
        grid: how many patches there are along each of these axes.
    """

    name: str
    sizes: Mapping[int, int]
    grid: tuple[int, ...]

    def __len__(self) -> int:
        return math.prod(self.grid)


def patches_of(graph: Graph) -> Patches | None:
    """The patches that attention takes for positions; None where no input is cut so, or another window reads the input."""
    flow = graph.axis_flow
    for given in graph.inputs:
        places = {
            axis.key: at
            for at, dim in enumerate(flow.of(given).dims)
            for axis in {digit.axis for digit in dim[:1]}
            if len(dim) == 1
        }
        cut = _cut(graph, places)
        shape = given.shape or ()
        if (
            not cut
            or any(shape[places[key]] % size for key, size in cut.items())
            or not _is_attended(graph, frozenset(cut))
        ):
            continue
        sizes = {places[key]: size for key, size in sorted(cut.items(), key=lambda item: places[item[0]])}
        grid = tuple(shape[at] // size for at, size in sizes.items())
        if math.prod(grid) >= _LEAST:
            return Patches(given.label, sizes, grid)
    return None


def _cut(graph: Graph, places: Mapping[int, int]) -> dict[int, int]:
    """Key of an axis of the input -> entries of a patch, all cuts together; empty where windows overlap."""
    found: dict[int, int] = {}
    for op in graph.ops:
        if op.in_loss or not op.inputs:
            continue
        for dim, size in _windows(graph, op):
            roots = roots_of(dim) & places.keys()
            if len(roots) == 1 and size > 1:
                found[next(iter(roots))] = found.get(next(iter(roots)), 1) * size
        for digit in _split(graph, op, places):
            found.setdefault(digit.axis.key, digit.stride)
    return found


def _windows(graph: Graph, op: Op) -> Iterator[tuple[Dim, int]]:
    """Dimensions that windows without overlap cut, with the size of a window."""
    dims = graph.axes(op.inputs[0]).dims
    if op.is_kind("conv") and not op.is_kind("conv-transpose"):
        kernel = tuple(getattr(op.argument("weight"), "shape", ())[2:])
        if kernel == _each(op.argument("stride", 1), len(kernel)):
            yield from zip(dims[len(dims) - len(kernel) :], kernel, strict=True)
    elif op.name == "pixel_unshuffle" and isinstance(op.argument("downscale_factor"), int):
        yield from ((dim, op.argument("downscale_factor")) for dim in dims[-2:])
    elif op.name == "unfold" and len(dims) == 4 and len(op.shape or ()) == 3:
        sizes = [_each(op.argument(name, default), 2) for name, default in (("kernel_size", 0), ("stride", 1))]
        if sizes[0] == sizes[1]:
            yield from zip(dims[-2:], sizes[0], strict=True)
    elif op.name == "unfold" and len(op.node.args) == 4:
        at, size, step = op.node.args[1:]
        if size == step and isinstance(at, int) and isinstance(size, int):
            yield dims[at], size


def _each(value: Any, count: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * count


def _split(graph: Graph, op: Op, places: Mapping[int, int]) -> Iterator[Digit]:
    """Outer parts of an input's axes in the result of a view."""
    if op.is_kind("view"):
        for dim in graph.axes(op).dims:
            yield from (digit for digit in dim if digit.axis.key in places and digit.stride > 1)


def _is_attended(graph: Graph, keys: frozenset[int]) -> bool:
    """Whether a softmax or an attention layer runs along positions that come from all these axes."""
    for op in graph.calls("softmax", "attention"):
        axes = graph.axes(op)
        along = [part.dim for part in axes.along] + ([axes.steps.positions] if axes.steps is not None else [])
        if not op.in_loss and any(keys <= roots_of(dim) for dim in along):
            return True
    return False


def are_placed(graph: Graph, patches: Patches) -> bool:
    """Whether the model joins what comes from the input with values of its own that have an entry for each patch.

    Such are embeddings of positions, rotations and biases of attention, however little they count yet: behind a layer scale of 1e-5,
    or while they are zero.
    """
    given = graph.below(graph.inputs)
    lengths = range(len(patches), len(patches) + _PREFIX + 1)
    for op in given:
        if op.in_loss or not op.is_kind("add", "sub", "mul", "attention"):
            continue
        # Of attention's own parameters none is a position (biases are looked up or computed), and frozen zeros stay zero.
        weights = not op.is_kind("attention")
        own = (part for part in op.inputs if part not in given)
        for shape in (
            part.shape or () for part in own if not part.is_kind("parameter") or (weights and part.requires_grad)
        ):
            if shape[-len(patches.grid) :] == patches.grid or any(size in lengths for size in shape[:-1]):
                return True
    return False


class PatchShuffle:
    """The batch with its patches in another order."""

    def __init__(self, session: Session, patches: Patches) -> None:
        self._patches = patches
        generator = torch.Generator().manual_seed(session.plan.seed)
        self._order = torch.randperm(len(patches), generator=generator)
        named = dict(named_inputs(session.setup.with_inputs(session.batch_inputs)))
        given = named[patches.name]
        axes = list(patches.sizes)
        moved = self._moved(given, axes)
        self.inputs = map_tensors(lambda leaf: moved if leaf is given else leaf, session.batch_inputs)

    def _moved(self, tensor: torch.Tensor, axes: list[int]) -> torch.Tensor:
        """The tensor with the blocks of a grid over `axes` in the new order."""
        counts = dict(zip(axes, self._patches.grid, strict=True))
        parts, blocks = list[int](), list[int]()
        for axis, size in enumerate(tensor.shape):
            if axis in counts:
                blocks.append(len(parts))
            parts += [counts[axis], size // counts[axis]] if axis in counts else [size]
        order = [*blocks, *(place for place in range(len(parts)) if place not in blocks)]
        laid = tensor.reshape(parts).permute(order)
        flat = laid.reshape(len(self._patches), *laid.shape[len(blocks) :])
        back = flat.index_select(0, self._order.to(tensor.device)).reshape(laid.shape).permute(_inverse(order))
        return back.reshape(tensor.shape)

    def of_output(self, tensor: torch.Tensor) -> torch.Tensor:
        """An output in the new order; as it is where it has no patches."""
        count, grid = len(self._patches), self._patches.grid
        if tensor.dim() == 3:
            for extra in (0, 1):  # a class token may stand first
                axis = next((at for at in (1, 2) if tensor.shape[at] == count + extra), None)
                if axis is not None:
                    order = torch.cat([torch.arange(extra), self._order + extra]).to(tensor.device)
                    return tensor.index_select(axis, order)
        axes = list(range(tensor.dim() - len(grid), tensor.dim()))
        fits = tensor.dim() == len(grid) + 2 and all(
            tensor.shape[axis] >= size and tensor.shape[axis] % size == 0 for axis, size in zip(axes, grid, strict=True)
        )
        return self._moved(tensor, axes) if fits else tensor


def _inverse(order: list[int]) -> list[int]:
    return [order.index(axis) for axis in range(len(order))]
