"""Module calls: who is being called, how often, and where it failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from nnlint.capture.facts import UnregisteredModule
from nnlint.capture.torch_private import patched_module_call, patched_parameter_new, without_torch_function
from nnlint.tensors import shape_of, tensor_leaves


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module, while it is on the stack."""

    module: nn.Module
    path: str
    type_name: str
    number: int
    training: bool
    is_torch_layer: bool


@dataclass
class Failure:
    """Where an exception came from: the innermost module being called and the shapes it was given."""

    path: str
    type_name: str
    shapes: list[str]


class CallObserver(Protocol):
    """Told of every module call that returned."""

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """A module returned `result`; it is still on the tracker's stack."""


@dataclass
class ModuleTracker:
    """The stack of module calls of a run."""

    paths: dict[int, str]
    stack: list[ModuleCall] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    unregistered: dict[str, nn.Module] = field(default_factory=dict)
    #: Ids of the parameters made during the run. None of them can be the id of an older tensor that is still in use.
    created: set[int] = field(default_factory=set)
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
        if path is None:
            path = self._adopt(module)
        is_torch_layer = type(module).__module__.startswith("torch.nn.")
        call = ModuleCall(module, path, type(module).__name__, self.calls[path], bool(module.training), is_torch_layer)
        self.stack.append(call)
        self.calls[path] += 1

    def _adopt(self, module: nn.Module) -> str:
        """Give an unregistered module, and what is inside it, paths for the rest of the run."""
        above = self.current
        name = _held_as(above.module, module) if above is not None else None
        name = name or f"<{type(module).__name__}>"
        path = f"{above.path}.{name}" if above is not None and above.path else name
        while path in self.unregistered:
            path = f"{path}'"
        # Held until the run ends: an id is not given to another module meanwhile.
        self.unregistered[path] = module
        for inner, child in module.named_modules():
            self.paths.setdefault(id(child), f"{path}.{inner}" if inner else path)
        return path

    def leave(self) -> None:
        """Pop a call."""
        self.stack.pop()

    def failed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember the innermost failing call; outer calls do not overwrite it."""
        if self.failure is None and self.stack:
            call = self.stack[-1]
            shapes = [
                f"{shape_of(leaf)} {str(leaf.dtype).removeprefix('torch.')}"
                for _, leaf in tensor_leaves((args, kwargs))
            ]
            self.failure = Failure(call.path, call.type_name, shapes)

    def unregistered_modules(self, model: nn.Module) -> tuple[UnregisteredModule, ...]:
        """The modules that were called and that `model` did not list before the run."""
        known = {id(parameter) for parameter in model.parameters() if id(parameter) not in self.created}
        now = {id(module) for module in model.modules()}
        found = []
        for path, module in self.unregistered.items():
            own = [p for p in module.parameters() if id(p) not in known]
            trainable = sum(p.numel() for p in own if p.requires_grad)
            created = bool(own) and all(id(p) in self.created for p in own)
            found.append(UnregisteredModule(path, type(module).__name__, trainable, created, id(module) in now))
        return tuple(found)


def _held_as(owner: nn.Module, module: nn.Module) -> str | None:
    """How `owner` holds a module that it did not register: `layers[0]`, `blocks['a']`; None where no plain container does."""
    for name, children in held_plainly(owner):
        for key, child in children:
            if child is module:
                return f"{name}[{key}]"
    return None


def held_plainly(owner: nn.Module) -> Iterator[tuple[str, list[tuple[str, nn.Module]]]]:
    """The plain lists, tuples and dicts among the attributes of `owner`, each with its modules by position or key."""
    for name, value in list(vars(owner).items()):
        if name.startswith("_") or isinstance(value, nn.Module):
            continue
        items: Iterable[tuple[object, object]] = ()
        if isinstance(value, dict):
            items = value.items()
        elif isinstance(value, (list, tuple)):
            items = enumerate(value)
        yield name, [(repr(key), child) for key, child in items if isinstance(child, nn.Module)]


def tracked_calls(tracker: ModuleTracker, observer: CallObserver) -> AbstractContextManager[None]:
    """Route every module call of the process through the tracker for the time of the block."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            tracker.enter(module)
            try:
                # A scripted module is one operation: what carries it out in Python (fake tensors) is no call of the user's.
                with without_torch_function() if isinstance(module, torch.jit.ScriptModule) else nullcontext():
                    result = original(module, *args, **kwargs)
            except BaseException:
                with without_torch_function():
                    tracker.failed(args, kwargs)
                raise
            else:
                with without_torch_function():
                    observer.called(module, args, kwargs, result)
            finally:
                tracker.leave()
            return result

        return call

    return patched_module_call(wrap)


def noted_parameters(created: set[int]) -> AbstractContextManager[None]:
    """Put the id of every `nn.Parameter` made inside the block into `created`."""
    return patched_parameter_new(lambda parameter: created.add(id(parameter)))
