"""Complete training setups that work, in the style of public repositories: each public function of a module builds one."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any


def setups() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Names (area/function) and build functions of all, in order."""
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        for name, build in list(vars(module).items()):
            if inspect.isfunction(build) and build.__module__ == module.__name__ and name.startswith("build_"):
                yield f"{found.name}/{name.removeprefix('build_')}", build
