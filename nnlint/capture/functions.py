"""What torch runs outside the function mode or shows only in pieces: recorded as one op each.

Custom `torch.autograd.Function`s, `torch.func` transforms (`vmap`, `grad`) and called TorchScript functions. Their op takes
as inputs the tensors given to it and those that it read inside (captured parameters).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from nnlint.capture.torch_private import (
    observed_functions,
    patched_script_call,
    patched_transforms,
    without_torch_function,
)
from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from torch import fx

    from nnlint.capture.recorder import Recorder

#: Functions whose inside is the user's own forward: their ops are recorded as if they were called plainly.
_TRANSPARENT = frozenset({"CheckpointFunction"})


@contextmanager
def recorded_functions(recorder: Recorder) -> Iterator[None]:
    """While active, each of these calls is one op; the originals are back afterwards."""

    def observe(cls: Any, bound: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if recorder.is_paused:
            return bound(*args, **kwargs)
        if cls.__name__ in _TRANSPARENT:
            return _checkpointed(recorder, bound, args, kwargs)
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


def _checkpointed(
    recorder: Recorder, bound: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A reentrant checkpoint: its forward runs without gradients, and the backward runs it again with them.

    Its ops are noted as the backward will see them. Where no input requires a gradient there is no backward: they are marked.
    """
    before = len(recorder.graph.nodes)
    result = bound(*args, **kwargs)
    inside = list(recorder.graph.nodes)[before:]
    for _, tensor in tensor_leaves(result):
        recorder.nodes.bind_alias(tensor)
    if not torch.is_grad_enabled():
        return result
    if any(tensor.requires_grad for _, tensor in tensor_leaves(result)):
        for node in inside:
            node.meta["grad_enabled"] = True
            above = any(source.meta.get("requires_grad") for source in node.all_input_nodes)
            node.meta["requires_grad"] = node.meta.get("requires_grad") or (above and _is_real(node))
    else:
        for node in inside:
            node.meta["cut_checkpoint"] = True
    return result


def _is_real(node: fx.Node) -> bool:
    return str(node.meta.get("dtype", "")).startswith(("float", "bfloat", "complex"))


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
