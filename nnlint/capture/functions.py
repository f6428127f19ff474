"""What torch runs outside the function mode or shows only in pieces: recorded as one op each.

Custom `torch.autograd.Function`s, `torch.func` transforms (`vmap`, `grad`) and called TorchScript functions. Their op takes
as inputs the tensors given to it and those that it read inside (captured parameters).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from nnlint.capture.recorder import Recorder

#: Functions whose inside is the user's own forward: their ops are recorded as if they were called plainly.
_TRANSPARENT = frozenset({"CheckpointFunction"})
#: Modules and names of the implementations behind `torch.func`: private, so each is looked for and may be absent.
_TRANSFORMS = (
    ("torch._functorch.apis", "vmap_impl", "vmap"),
    ("torch._functorch.eager_transforms", "grad_impl", "func_grad"),
    ("torch._functorch.eager_transforms", "grad_and_value_impl", "func_grad"),
)


@contextmanager
def recorded_functions(recorder: Recorder) -> Iterator[None]:
    """While active, each of these calls is one op; the originals are back afterwards."""
    with ExitStack() as stack:
        stack.enter_context(_custom_functions(recorder))
        stack.enter_context(_scripted_functions(recorder))
        for module_name, attribute, name in _TRANSFORMS:
            module = importlib.import_module(module_name)
            if hasattr(module, attribute):
                stack.enter_context(_transform(recorder, module, attribute, name))
        yield


@contextmanager
def observed_functions(
    observer: Callable[[Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any],
) -> Iterator[None]:
    """While active, each call of a custom `torch.autograd.Function` goes through the observer.

    `square = Square.apply` at module level, the idiom of torch's own documentation, is bound before anything can replace
    `Function.apply`: what that calls in its turn is replaced.

    Args:
        observer: gets the function's class, what makes the call, and the arguments; returns the result.
    """
    owner: Any = torch.autograd.function._SingleLevelFunction
    before = owner.__dict__.get("apply")

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        bound = before.__get__(None, cls) if before is not None else super(owner, cls).apply
        return observer(cls, bound, args, kwargs)

    owner.apply = classmethod(apply)
    try:
        yield
    finally:
        if before is None:
            del owner.apply
        else:
            owner.apply = before


@contextmanager
def _custom_functions(recorder: Recorder) -> Iterator[None]:
    def observe(cls: Any, bound: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if recorder.is_paused or cls.__name__ in _TRANSPARENT:
            return bound(*args, **kwargs)
        return _recorded(recorder, bound, cls.apply, "custom_function", args, kwargs, {"custom_function": cls.__name__})

    with observed_functions(observe):
        yield


@contextmanager
def _scripted_functions(recorder: Recorder) -> Iterator[None]:
    owner: Any = torch._C.ScriptFunction
    original = owner.__dict__["__call__"]

    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        bound = original.__get__(function, owner)
        if recorder.is_paused:
            return bound(*args, **kwargs)
        return _recorded(recorder, bound, scripted, "scripted", args, kwargs, {"kind": "scripted"})

    owner.__call__ = call
    try:
        yield
    finally:
        owner.__call__ = original


@contextmanager
def _transform(recorder: Recorder, module: Any, attribute: str, name: str) -> Iterator[None]:
    original = getattr(module, attribute)

    def call(*args: Any, **kwargs: Any) -> Any:
        if recorder.is_paused:
            return original(*args, **kwargs)
        return _recorded(recorder, original, original, name, args, kwargs, {})

    setattr(module, attribute, call)
    try:
        yield
    finally:
        setattr(module, attribute, original)


def _recorded(
    recorder: Recorder,
    function: Callable[..., Any],
    target: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    meta: dict[str, Any],
) -> Any:
    with recorder.paused() as read:
        result = function(*args, **kwargs)
    with torch._C.DisableTorchFunction(), recorder.paused():
        recorder.record(target, name, (*args, *read), kwargs, result, meta=meta)
    return result


def scripted(*values: Any) -> Any:
    """Target of the node that stands for a TorchScript function or module."""
    return values
