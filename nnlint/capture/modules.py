"""Module calls: who is being called, how often, and where it failed. Patches `nn.Module.__call__` for the length of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from nnlint.capture.bindings import tensor_leaves


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module, while it is on the stack."""

    path: str
    type_name: str
    number: int
    training: bool
    is_torch_layer: bool
    registered: bool


@dataclass
class Failure:
    """Where an exception came from: the innermost module being called and the shapes it was given."""

    path: str
    type_name: str
    shapes: list[str]


class ScriptObserver(Protocol):
    """What to do around a call of a scripted module, whose inside torch does not show."""

    def scripted_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Record the call as one op."""


@dataclass
class ModuleTracker:
    """The stack of module calls of a run."""

    paths: dict[int, str]
    stack: list[ModuleCall] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    unregistered: dict[str, nn.Module] = field(default_factory=dict)
    failure: Failure | None = None

    @classmethod
    def of(cls, model: nn.Module, *losses: nn.Module) -> ModuleTracker:
        """A tracker that knows the modules of the model by their paths in `named_modules()`, those of a loss below "loss"."""
        paths: dict[int, str] = {}
        for path, module in model.named_modules():
            paths.setdefault(id(module), path)
        for loss in losses:
            for path, module in loss.named_modules():
                paths.setdefault(id(module), f"loss.{path}" if path else "loss")
        return cls(paths)

    @property
    def current(self) -> ModuleCall | None:
        """The innermost module being called."""
        return self.stack[-1] if self.stack else None

    def enter(self, module: nn.Module) -> None:
        """Push a call."""
        path = self.paths.get(id(module))
        registered = path is not None
        if path is None:
            above = f"{self.stack[-1].path}." if self.stack and self.stack[-1].path else ""
            path = f"{above}<{type(module).__name__}>"
            self.unregistered[path] = module
        is_torch_layer = type(module).__module__.startswith("torch.nn.")
        self.stack.append(
            ModuleCall(path, type(module).__name__, self.calls[path], bool(module.training), is_torch_layer, registered)
        )
        self.calls[path] += 1

    def leave(self) -> None:
        """Pop a call."""
        self.stack.pop()

    def failed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember the innermost failing call; outer calls do not overwrite it."""
        if self.failure is None and self.stack:
            call = self.stack[-1]
            shapes = [f"{tuple(leaf.shape)} {str(leaf.dtype).removeprefix('torch.')}" for _, leaf in tensor_leaves((args, kwargs))]
            self.failure = Failure(call.path, call.type_name, shapes)


@contextmanager
def tracked_calls(tracker: ModuleTracker, observer: ScriptObserver) -> Iterator[None]:
    """Route every module call of the process through the tracker; the original `__call__` is back afterwards."""
    original = nn.Module.__call__

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        tracker.enter(module)
        try:
            result = original(module, *args, **kwargs)
        except BaseException:
            with torch._C.DisableTorchFunction():
                tracker.failed(args, kwargs)
            raise
        else:
            if isinstance(module, torch.jit.ScriptModule):
                with torch._C.DisableTorchFunction():
                    observer.scripted_call(module, args, kwargs, result)
        finally:
            tracker.leave()
        return result

    nn.Module.__call__ = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__call__ = original  # type: ignore[method-assign]
