"""Whether a model lets itself be looked at: what walks over it must not run into the model's own errors again and again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from nnlint.capture.torch_wrapping import children_of
from nnlint.frames import format_trace, is_fatal, location_of_exception, text_of
from nnlint.setup.errors import SetupError


def inspect_model(model: nn.Module) -> None:
    """Use once what nnlint uses to look at a model: the walk over modules and parameters, and the attributes of adapters.

    Raises:
        SetupError: RUN010: a module holds itself, or the model's own code raised.
    """
    for path, module in _modules(model):
        _attempt(f"{type(module).__name__}.named_children()", path, partial(_listed, module, "named_children"))
    for name in ("named_modules", "named_parameters", "named_buffers"):
        _attempt(f"{type(model).__name__}.{name}()", "", partial(_listed, model, name))
    _attempt(f"{type(model).__name__}.config", "", lambda: getattr(model, "config", None))


def _listed(module: nn.Module, method: str) -> list[Any]:
    return list(getattr(module, method)())


def _modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every module once with its path, by torch's own table."""
    found: list[tuple[str, nn.Module]] = []
    seen: set[int] = set()
    waiting: list[tuple[str, nn.Module, dict[int, str]]] = [("", model, {})]
    while waiting:
        path, module, above = waiting.pop()
        if id(module) in above:
            place, first = path or "the model", above[id(module)] or "the model"
            message = f"{place} is {first}: a module that contains itself cannot be trained (train() and eval() never return)"
            fix = "keep the reference out of the modules: self.parent = weakref.ref(parent), or [parent] in a list"
            raise SetupError("RUN010", message, fix=fix, module=first if above[id(module)] else "")
        if id(module) in seen:
            continue
        seen.add(id(module))
        found.append((path, module))
        for name, child in children_of(module).items():
            inner = f"{path}.{name}" if path else name
            waiting.append((inner, child, {**above, id(module): path}))
    return found


def _attempt(what: str, path: str, look: Callable[[], Any]) -> None:
    try:
        look()
    except BaseException as error:
        if is_fatal(error):
            raise
        raise user_fault(error, what, path) from error


def user_fault(error: BaseException, what: str, path: str = "") -> SetupError:
    """What an exception of the user's code is reported as, where nnlint only looked at the model."""
    return SetupError(
        "RUN010",
        f"{what} raised {type(error).__name__}: {text_of(error)}",
        module=path,
        location=location_of_exception(error),
        trace=format_trace(error),
    )
