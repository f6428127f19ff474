"""Walks of autograd's graph: what a loss reaches, what it is made of, what it keeps in memory, whether it is still alive."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nnlint.capture.torch_private import sparse_parts, storage_identity
from nnlint.observation.journal import DraftTerm, Keys
from nnlint.observation.things import Things
from nnlint.observation.torch_private import saved, saved_names, sequence_number
from nnlint.tensors import is_strided

#: Nodes of a graph that are walked at most.
MOST_NODES = 20_000
_TERMS = 8
#: Nodes from the loss on among which the loss functions are.
_NEAR = 200
_SCALINGS = 6
_REDUCTIONS = ("none", "mean", "sum")
_ENTRY = "nnlint"
#: The node of a leaf.
_LEAF = "AccumulateGrad"
#: Living graphs that may be garbage in a cycle.
_GARBAGE = 4


@dataclass
class Reached:
    """What a walk from a loss came to."""

    parameters: set[int] = field(default_factory=set)
    forwards: set[int] = field(default_factory=set)
    #: Those that no called module and no optimizer holds.
    strangers: list[Tensor] = field(default_factory=list)
    nodes: int = 0
    complete: bool = True
    #: The first nodes, to be read while the graph is there.
    near: list[Any] = field(default_factory=list)


def walk(root: Any, things: Things, forwards: dict[int, int]) -> Reached:
    """Everything below an autograd node.

    Args:
        root: the `grad_fn`.
        things: knows the parameters.
        forwards: sequence number of an output's node -> index of the forward that made it.
    """
    found = Reached()
    for count, node in enumerate(nodes_below(root), 1):
        if type(node).__name__ == _LEAF:
            known = things.lookup(node.variable)
            if known is not None:
                found.parameters.add(known.key)
            elif isinstance(node.variable, torch.nn.Parameter):
                found.strangers.append(node.variable)
        else:
            if count <= _NEAR:
                found.near.append(node)
            number = forwards.get(sequence_number(node))
            if number is not None:
                found.forwards.add(number)
        found.nodes = count
    found.complete = found.nodes < MOST_NODES
    return found


def parameters_below(tensors: list[Tensor], things: Things) -> set[int]:
    """The parameters (by number) that the graphs of some tensors reach."""
    roots = {tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None}
    return {key for root in roots for key in walk(root, things, {}).parameters}


def nodes_below(root: Any, most: int = MOST_NODES) -> Iterator[Any]:
    """The nodes of a graph, each once, at most `most` of them."""
    waiting, seen = [root], {root}
    while waiting and most:
        node = waiting.pop()
        most -= 1
        yield node
        for above, _ in node.next_functions:
            if above is not None and above not in seen:
                seen.add(above)
                waiting.append(above)


@dataclass
class Composition:
    """How a loss was put together last."""

    factors: tuple[float, ...] = ()
    operation: str = ""
    reduction: str | None = None
    summands: list[Any] = field(default_factory=list)


def composition_of(root: Any) -> Composition:
    """The numbers that the loss was multiplied with last, the operation below, and its summands."""
    made = Composition()
    node = root
    while len(made.factors) < _SCALINGS:
        factor = _factor(node)
        if factor is None:
            break
        made.factors = (*made.factors, factor)
        node = next(above for above, _ in node.next_functions if above is not None)
    made.operation = node.name()
    made.summands = _summands(node)
    # A label-smoothed cross-entropy adds a sum that it divides itself: the loss functions of torch say what the whole is.
    functions = {_reduction(summand) for summand in made.summands if isinstance(saved(summand, "reduction"), int)}
    reductions = functions or {_reduction(summand) for summand in made.summands}
    made.reduction = _reduction(node) or (reductions.pop() if len(reductions) == 1 else None)
    return made


def _factor(node: Any) -> float | None:
    """The number of a multiplication or division by a number."""
    name = node.name().rstrip("0123456789")
    inputs = [above for above, _ in node.next_functions if above is not None]
    if name not in ("MulBackward", "DivBackward") or len(inputs) != 1:
        return None
    other = saved(node, "other")
    if isinstance(other, Tensor):
        if other.numel() != 1 or other.is_meta:
            return None
        other = other.item()
    if not isinstance(other, (int, float)) or not other:
        return None
    return float(other) if name == "MulBackward" else 1.0 / float(other)


def _reduction(node: Any) -> str | None:
    value = saved(node, "reduction")
    if isinstance(value, int) and 0 <= value < len(_REDUCTIONS):
        return _REDUCTIONS[value]
    name = node.name()
    return "mean" if name.startswith("MeanBackward") else "sum" if name.startswith("SumBackward") else None


def _summands(node: Any) -> list[Any]:
    """The nodes that are added up, scalings looked through; the node alone where it is no sum."""
    found: list[Any] = []
    waiting = [node]
    while waiting and len(found) + len(waiting) <= _TERMS:
        current = waiting.pop()
        while _factor(current) is not None:
            current = next(above for above, _ in current.next_functions if above is not None)
        name = current.name().rstrip("0123456789")
        parts = [above for above, _ in current.next_functions if above is not None]
        if name in ("AddBackward", "SubBackward") and len(parts) > 1:
            waiting += reversed(parts)
        elif name in ("AddBackward", "SubBackward") and len(parts) == 1:
            waiting.append(parts[0])
        else:
            found.append(current)
    return found + waiting


def terms_of(made: Composition, things: Things, forwards: dict[int, int]) -> tuple[DraftTerm, ...]:
    """The summands of a loss with what each reaches."""
    terms = []
    for node in made.summands:
        reached = walk(node, things, forwards)
        terms.append(DraftTerm(node.name(), Keys(reached.parameters), tuple(sorted(reached.forwards))))
    return tuple(terms)


def targets_of(nodes: list[Any]) -> list[Tensor]:
    """What the loss functions among the last nodes of a graph compare with."""
    found = []
    for node in nodes:
        kind = type(node)
        # A cross-entropy by hand picks the targets' logits.
        name = "_saved_index" if kind.__name__.startswith("GatherBackward") else "_saved_target"
        value = saved(node, name) if hasattr(kind, name) else None
        if isinstance(value, Tensor) and not value.is_meta and value.numel() > 1:
            found.append(value)
    return found


def sequence_numbers(tensors: Iterator[Tensor]) -> list[int]:
    """The numbers of the nodes that made these tensors; the nodes themselves would keep the graph alive."""
    return [sequence_number(tensor.grad_fn) for tensor in tensors if tensor.grad_fn is not None]


def saved_bytes(tensors: list[Tensor]) -> int:
    """Bytes of the tensors that the graph of some outputs keeps for a backward, parameters not counted."""
    sizes: dict[int, int] = {}
    for root in {tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None}:
        for node in nodes_below(root, 2_000):
            for kept in _kept(node):
                if not (kept.is_leaf and kept.requires_grad):
                    identity, size = _memory_of(kept)
                    sizes[identity] = size
    return sum(sizes.values())


def _memory_of(tensor: Tensor) -> tuple[int, int]:
    """What tells the memory of a tensor from another's, and its bytes; a sparse tensor has no storage of its own."""
    if is_strided(tensor):
        storage = tensor.untyped_storage()
        return storage_identity(storage), storage.nbytes()
    parts = sparse_parts(tensor) if tensor.layout is torch.sparse_coo else (tensor,)
    return id(tensor), sum(part.numel() * part.element_size() for part in parts)


def _kept(node: Any) -> Iterator[Tensor]:
    for name in saved_names(node):
        value = saved(node, name)
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, Tensor) and not item.is_meta:
                yield item


class _Sentinel:
    """Lives as long as the node whose metadata holds it."""


class Alive:
    """Which of the graphs that were seen something still refers to, without keeping any alive."""

    def __init__(self) -> None:
        self._losses: dict[int, weakref.ref[_Sentinel]] = {}
        self._outputs: dict[int, weakref.ref[_Sentinel]] = {}
        self._limit = _GARBAGE

    def watch(self, index: int, loss: Tensor) -> None:
        """Note the graph of a loss under the index of its backward."""
        _mark(loss, index, self._losses)

    def watch_output(self, index: int, output: Tensor) -> None:
        """Note the graph of a module's output under the index of its forward."""
        _mark(output, index, self._outputs)

    def now(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The graphs of losses and of outputs that are alive.

        Python's garbage is collected where they become more: a cycle that nothing refers to is no leak.
        """
        found = _living(self._losses), _living(self._outputs)
        if sum(map(len, found)) >= self._limit:
            gc.collect()
            found = _living(self._losses), _living(self._outputs)
            self._limit = sum(map(len, found)) + _GARBAGE
        return found


def _mark(tensor: Tensor, index: int, kept: dict[int, weakref.ref[_Sentinel]]) -> None:
    if tensor.grad_fn is not None:
        sentinel = _Sentinel()
        metadata: Any = tensor.grad_fn.metadata
        metadata.setdefault(_ENTRY, []).append(sentinel)
        kept[index] = weakref.ref(sentinel)


def _living(kept: dict[int, weakref.ref[_Sentinel]]) -> tuple[int, ...]:
    for index in [index for index, sentinel in kept.items() if sentinel() is None]:
        del kept[index]
    return tuple(kept)


def is_leaf_loss(loss: Tensor) -> bool:
    """Whether a loss that requires grad was made from numbers."""
    return loss.grad_fn is None and loss.requires_grad and not isinstance(loss, torch.nn.Parameter)
