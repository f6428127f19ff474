"""Small measured facts: hashes of tensors, digests of random states, what changed in a set of tensors."""

from __future__ import annotations

import ctypes
import random
import sys
import zlib
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from nnlint.capture.torch_private import is_wrapper, norms
from nnlint.guard.parts import inner_tensors
from nnlint.observation.events import Leaf, RandomState
from nnlint.tensors import is_strided, tensor_leaves

#: A batch of more samples is hashed whole, not sample by sample.
_ROWS = 4096
#: Entries of a tensor that are compared to tell whether a step changed it.
_SAMPLED = 1024
_LEAVES = 32
#: NumPy's default generator and the bytes of its state: 624 words and a position.
_MERSENNE = ("MT19937", 2500)
#: Values of targets that are compared between a batch and its loss.
_VALUES = 1 << 20


def digest_of_random_states() -> RandomState:
    """Numbers for the generators of torch, NumPy and Python, each equal when that generator is in the same state."""
    return _crc(torch.get_rng_state()), _digest_of_numpy(), hash(random.getstate())


def _digest_of_numpy() -> int:
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "random"):
        return 0
    # NumPy's global generator: reading its memory costs a hundredth of asking for its state, and an iteration asks four times.
    generator: Any = getattr(numpy.random, "get_bit_generator", lambda: None)()
    if type(generator).__name__ == _MERSENNE[0]:
        return zlib.crc32(_bytes(generator.ctypes.state_address, _MERSENNE[1]))
    state = numpy.random.get_state(legacy=False)["state"]
    key = state.get("key")
    return zlib.crc32(key.tobytes() if key is not None else b"") ^ zlib.crc32(repr(state).encode())


def leaves_of(batch: Any) -> list[tuple[str, Tensor]]:
    """The first tensors of a batch with their names."""
    found = islice(tensor_leaves(batch), _LEAVES)
    return [(".".join(map(str, path)), tensor.detach()) for path, tensor in found]


def leaf_of(name: str, tensor: Tensor) -> Leaf:
    """What is kept of a tensor."""
    return Leaf(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), content_of(tensor))


def content_of(tensor: Tensor) -> int:
    """A hash of the bytes, the same on every device and for every shape; 0 for a tensor without bytes of its own."""
    rows = sample_contents(tensor)
    if rows:
        return zlib.crc32(repr(rows).encode())
    return _crc(tensor) if is_strided(tensor) else 0


def sample_contents(tensor: Tensor) -> tuple[int, ...]:
    """A hash of each sample along the first dimension; empty where there are none or too many."""
    if not is_strided(tensor) or not tensor.dim() or not 0 < len(tensor) <= _ROWS:
        return ()
    plain = tensor.detach().cpu().contiguous()
    width = plain.numel() * plain.element_size() // len(plain)
    start = plain.data_ptr()
    return tuple(zlib.crc32(_bytes(start + index * width, width)) for index in range(len(plain)))


def value_contents(tensor: Tensor, samples: int) -> tuple[int, ...]:
    """A hash of the values of each of `samples` samples, the same for every dtype and shape; empty where there are too many."""
    whole = samples and is_strided(tensor) and 0 < tensor.numel() <= _VALUES and not tensor.numel() % samples
    return sample_contents(tensor.detach().double().reshape(samples, -1)) if whole and not tensor.is_complex() else ()


def _crc(tensor: Tensor) -> int:
    plain = tensor.detach().cpu().contiguous()
    return zlib.crc32(_bytes(plain.data_ptr(), plain.numel() * plain.element_size()))


def _bytes(address: int, length: int) -> Any:
    return (ctypes.c_char * length).from_address(address) if length and address else b""


def is_single(value: Any) -> bool:
    """Whether a value is a tensor of one number that can be read."""
    return isinstance(value, Tensor) and value.numel() == 1 and is_strided(value)


class Sample:
    """Some entries of each of many tensors, kept as one vector a dtype and device, to see later which tensors changed.

    Where a gradient is given and none of its sampled entries differ from zero (an embedding's rows), entries with a gradient are
    taken instead.
    """

    def __init__(self, tensors: Mapping[int, Tensor], gradients: Mapping[int, Tensor | None] | None = None) -> None:
        held = {key: held_part(tensor) for key, tensor in tensors.items()}
        self._tensors = {key: tensor for key, tensor in held.items() if is_strided(tensor) and tensor.numel()}
        chosen = gradients or {}
        self._rows = {key: _touched(chosen.get(key)) for key in self._tensors}
        self._groups: dict[Any, list[int]] = {}
        for key, tensor in self._tensors.items():
            self._groups.setdefault((tensor.dtype, tensor.device), []).append(key)
        #: Views of the entries, with what tells that a tensor still lies where it did.
        self._views: dict[int, tuple[Any, Tensor]] = {}
        self._before = self._now = self._taken()

    @property
    def keys(self) -> frozenset[int]:
        """The tensors that are compared."""
        return frozenset(self._tensors)

    def changed(self) -> frozenset[int]:
        """The keys of the tensors whose sampled entries differ from what they were."""
        found: set[int] = set()
        self._now = self._taken()
        for keys, (before, lengths), (now, later) in zip(self._groups.values(), self._before, self._now, strict=True):
            if lengths != later:
                return frozenset(self._tensors)  # a tensor has another shape: all of them count as new
            if not torch.equal(before, now):
                differs = (before != now) & ~((before != before) & (now != now))  # noqa: PLR0124 NaN stays NaN
                ends = torch.tensor(lengths).cumsum(0)
                places = torch.bucketize(differs.nonzero().flatten(), ends, right=True).unique().tolist()
                found.update(keys[place] for place in places)
        return frozenset(found)

    def renew(self) -> None:
        """From now on compare with the entries as `changed` has seen them last."""
        self._before = self._now

    def _taken(self) -> list[tuple[Tensor, list[int]]]:
        """For each dtype and device: the sampled entries in one vector, and how many there are of each tensor."""
        taken = []
        for keys in self._groups.values():
            parts = [self._entries(key) for key in keys]
            taken.append((torch.cat(parts).cpu(), [len(part) for part in parts]))
        return taken

    def _entries(self, key: int) -> Tensor:
        """The sampled entries of a tensor: a view that is made once, where they can be viewed."""
        tensor, rows = self._tensors[key], self._rows[key]
        if rows is not None or not tensor.is_contiguous():
            return _some(tensor.detach(), rows)
        place = (tensor.data_ptr(), tensor.shape)
        known, view = self._views.get(key, (None, tensor))
        if known != place:
            view = _some(tensor.detach(), None)
            self._views[key] = (place, view)
        return view


def held_part(tensor: Tensor) -> Tensor:
    """The tensor that has the memory: of one that is sharded over processes, this process's part."""
    if type(tensor) in (Tensor, torch.nn.Parameter) or is_strided(tensor) or not is_wrapper(tensor):
        return tensor
    inner = [part for _, part in inner_tensors(tensor)]
    return inner[0] if len(inner) == 1 else tensor


def _some(tensor: Tensor, rows: Tensor | None) -> Tensor:
    flat = tensor.reshape(-1) if tensor.is_contiguous() else tensor.flatten()
    if rows is not None and rows.numel() and int(rows[-1]) < flat.numel():
        return flat[rows]
    return flat[:: max(1, -(-flat.numel() // _SAMPLED))]


def needs_gradients(gradients: Mapping[int, Tensor | None]) -> bool:
    """Whether evenly spread entries would miss the ones with a gradient (an embedding's rows)."""
    large: dict[Any, list[Tensor]] = {}
    for given in gradients.values():
        gradient = given if given is None else held_part(given)
        if gradient is not None and gradient.is_sparse:
            return True
        if gradient is not None and is_strided(gradient) and gradient.numel() > _SAMPLED:
            large.setdefault((gradient.dtype, gradient.device), []).append(_some(gradient.detach(), None))
    return any(bool((torch.stack(list(norms(group, float("inf")))) == 0).any()) for group in large.values())


def _touched(gradient: Tensor | None) -> Tensor | None:
    """Positions with a gradient, where the evenly spread ones have none."""
    if gradient is None:
        return None
    gradient = held_part(gradient)
    if gradient.is_sparse:
        gradient = gradient.to_dense()
    if not is_strided(gradient) or gradient.numel() <= _SAMPLED:
        return None
    flat = gradient.detach().flatten()
    if bool(_some(flat, None).any()):
        return None
    return flat.nonzero().flatten()[:_SAMPLED]


def norm_of(tensors: Iterable[Tensor]) -> float:
    """The 2-norm over all of them; NaN where torch cannot tell."""
    held = map(held_part, tensors)
    plain = [tensor.detach() if tensor.requires_grad else tensor for tensor in held if is_strided(tensor)]
    if not plain:
        return 0.0
    groups: dict[Any, list[Tensor]] = {}
    for tensor in plain:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    try:
        lengths = torch.cat([torch.stack(list(norms(group))).float().cpu() for group in groups.values()])
        return float(torch.linalg.vector_norm(lengths))
    except RuntimeError:
        return float("nan")


def labels_of(leaves: list[tuple[str, Tensor]]) -> tuple[int, ...]:
    """The numbers of the last tensor where that is one integer for each sample of the first."""
    if len(leaves) < 2:
        return ()
    first, last = leaves[0][1], leaves[-1][1]
    whole = not last.is_floating_point() and not last.is_complex() and is_strided(last)
    if (
        not whole
        or last.dim() not in (1, 2)
        or last.numel() != len(first if first.dim() else last)
        or len(last) > _ROWS
    ):
        return ()
    return tuple(int(value) for value in last.flatten().tolist())
