"""Custom `torch.autograd.Function`s and `vmap`: recorded as one op each, since torch shows their inside only in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from nnlint.capture.recorder import Recorder

#: Functions whose inside is the user's own forward: their ops are recorded as if they were called plainly.
_TRANSPARENT = frozenset({"CheckpointFunction"})


@contextmanager
def recorded_functions(recorder: Recorder) -> Iterator[None]:
    """While active, `SomeFunction.apply(...)` is one op named `custom_function`; the original `apply` is back afterwards."""
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        bound = original.__get__(None, cls)
        if recorder.is_paused or cls.__name__ in _TRANSPARENT:
            return bound(*args, **kwargs)
        with recorder.paused():
            result = bound(*args, **kwargs)
        with torch._C.DisableTorchFunction(), recorder.paused():
            recorder.record(cls.apply, "custom_function", args, kwargs, result, meta={"custom_function": cls.__name__})
        return result

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.autograd.Function.apply = original  # type: ignore[method-assign]
