"""Calls that would end in an assertion inside a CUDA kernel raise before they are launched, as they do on the CPU.

A kernel that finds an index or a probability out of range cannot raise: it stops the device, and the process can use it no more. The
check would lose all that it measured and the user a notebook, where the same call on the CPU is one exception with its line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nnlint.capture.calls import canonical_of, eager
from nnlint.capture.lookups import is_lookup, refused_lookup
from nnlint.tensors import map_tensors, tensor_leaves

_Test = Callable[[tuple[Any, ...], dict[str, Any]], bool]
#: Lookups of which torch checks no index on the CPU either: it would read beside the tensor.
_UNCHECKED = frozenset({"take_along_dim"})
#: Whether somebody else asks `refuse_on_device` of each call: the recorder, for which a refused call is evidence.
_LOOKED_AFTER: ContextVar[bool] = ContextVar("calls are looked at before they run", default=False)


@contextmanager
def within_bounds(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Inside the block calls on a CUDA device raise where their kernels would assert; nothing is watched for other devices.

    Args:
        tensors: what is about to be computed with: they tell the device.
    """
    if _LOOKED_AFTER.get() or not any(tensor.is_cuda for tensor in tensors):
        yield
        return
    with eager(), looked_after(), _Bounds():
        yield


@contextmanager
def looked_after() -> Iterator[None]:
    """Inside the block `within_bounds` leaves the calls to the caller."""
    token = _LOOKED_AFTER.set(True)
    try:
        yield
    finally:
        _LOOKED_AFTER.reset(token)


class _Bounds(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Refuse the call, or run it."""
        name = canonical_of(getattr(func, "__name__", ""), args, kwargs or {})
        refuse_on_device(func, name, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def refuse_on_device(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """`refuse` for a call that gets CUDA tensors; others raise by themselves, and looking at values waits for the device."""
    if (name in _TESTS or is_lookup(name)) and any(
        tensor.is_cuda for _, tensor in tensor_leaves((args, kwargs), depth=3)
    ):
        refuse(func, name, args, kwargs)


def refuse(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise what a call raises on the CPU, where its indices, labels or probabilities are out of range.

    Args:
        func: the torch function.
        name: its canonical name.
        args: what it is given by position.
        kwargs: and by name.

    Raises:
        Exception: the CPU's own.
    """
    test = _TESTS.get(name)
    if test is not None:
        outside = test(args, kwargs)
    else:
        found = refused_lookup(name, args, kwargs, None, None)
        outside = found is not None and found.outside > 0
    if outside and name in _UNCHECKED:
        raise IndexError(f"an index of {name} is out of range")
    if outside:
        with torch.no_grad():
            given, named = map_tensors(_on_cpu, (args, kwargs))
            func(*given, **named)


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str) -> Any:
    return args[place] if len(args) > place else kwargs.get(name)


def _by_label(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """cross_entropy(input, target, ...): class numbers from 0 to C - 1, or the one that is ignored."""
    scores, labels = _argument(args, kwargs, 0, "input"), _argument(args, kwargs, 1, "target")
    if not (isinstance(scores, Tensor) and isinstance(labels, Tensor)) or labels.is_floating_point() or not scores.dim():
        return False
    classes = scores.shape[1 if scores.dim() > 1 else 0]
    outside = (labels < 0) | (labels >= classes)
    ignored = _argument(args, kwargs, 4, "ignore_index")
    return bool((outside & (labels != (ignored if isinstance(ignored, int) else -100))).any())


def _between_0_and_1(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """binary_cross_entropy(input, target): both are probabilities."""
    given = (_argument(args, kwargs, 0, "input"), _argument(args, kwargs, 1, "target"))
    return any(isinstance(one, Tensor) and not bool(((one >= 0) & (one <= 1)).all()) for one in given)


def _as_chances(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """bernoulli(input): probabilities."""
    return _between_0_and_1(args[:1], {name: value for name, value in kwargs.items() if name == "input"})


def _as_weights(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """multinomial(input, ...): rows of weights that are not all zero."""
    weights = _argument(args, kwargs, 0, "input")
    if not isinstance(weights, Tensor):
        return False
    return not bool((weights.isfinite() & (weights >= 0)).all() & (weights.sum(-1) > 0).all())


_TESTS: Mapping[str, _Test] = MappingProxyType(
    {
        **dict.fromkeys(("cross_entropy", "nll_loss", "multi_margin_loss"), _by_label),
        "binary_cross_entropy": _between_0_and_1,
        "bernoulli": _as_chances,
        "multinomial": _as_weights,
    }
)
