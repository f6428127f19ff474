"""What torch runs outside the function mode or shows only in pieces: recorded as one op each.

Custom `torch.autograd.Function`s, `torch.func` transforms (`vmap`, `grad`) and called TorchScript functions. Their op takes
as inputs the tensors given to it and those that it read inside (captured parameters).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nnlint.capture.torch_private import (
    observed_functions,
    patched_script_call,
    patched_transforms,
    without_torch_function,
)

if TYPE_CHECKING:
    from nnlint.capture.recorder import Recorder

#: Functions whose inside is the user's own forward: their ops are recorded as if they were called plainly.
_TRANSPARENT = frozenset({"CheckpointFunction"})


@contextmanager
def recorded_functions(recorder: Recorder) -> Iterator[None]:
    """While active, each of these calls is one op; the originals are back afterwards."""

    def observe(cls: Any, bound: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if recorder.is_paused or cls.__name__ in _TRANSPARENT:
            return bound(*args, **kwargs)
        return _recorded(recorder, bound, cls.apply, "custom_function", args, kwargs, {"custom_function": cls.__name__})

    def script(bound: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if recorder.is_paused:
                return bound(*args, **kwargs)
            return _recorded(recorder, bound, scripted, "scripted", args, kwargs, {"kind": "scripted"})

        return call

    def transform(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if recorder.is_paused:
                return original(*args, **kwargs)
            return _recorded(recorder, original, original, name, args, kwargs, {})

        return call

    with observed_functions(observe), patched_script_call(script), patched_transforms(transform):
        yield


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
    with without_torch_function(), recorder.paused():
        recorder.record(target, name, (*args, *read), kwargs, result, meta=meta)
    return result


def scripted(*values: Any) -> Any:
    """Target of the node that stands for a TorchScript function or module."""
    return values
