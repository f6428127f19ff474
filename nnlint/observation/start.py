"""Starts a training script in this process as `python script.py` would, watched from its first `import torch` on."""

from __future__ import annotations

import builtins
import difflib
import importlib.abc
import importlib.machinery
import importlib.util
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from nnlint.frames import has_user_frame

#: What is no source file, but can be run.
_PACKED = (".pyc", ".zip", ".pyz")


class ScriptNotFoundError(Exception):
    """There is no such script or module."""


def run_script(target: str, arguments: Sequence[str], *, as_module: bool, on_torch: Callable[[], None]) -> Any:
    """Run a script or a module as `__main__`.

    Args:
        target: path of the script, or name of the module.
        arguments: the script's own, for `sys.argv`.
        as_module: whether `target` is a module, as in `python -m`.
        on_torch: called once torch has been imported, before the line after the import runs.

    Returns:
        The script's global names; they keep alive what it has.

    Raises:
        ScriptNotFoundError: there is no such script.
        BaseException: whatever the script raises.
    """
    if not as_module and not Path(target).is_file():
        raise ScriptNotFoundError(_no_script(target))
    folder = str(Path.cwd() if as_module else Path(target).resolve().parent)
    with _arguments([target, *arguments], folder), _at_import("torch", on_torch):
        if as_module:
            return _run_module(target)
        if Path(target).suffix in _PACKED:
            return runpy.run_path(target, run_name="__main__")
        return _run_source(str(Path(target).absolute()))


def _run_source(file: str) -> dict[str, Any]:
    """Run a source file as Python does, with an absolute `__file__`: the script may change the working directory."""
    module: Any = ModuleType("__main__")
    module.__file__, module.__cached__, module.__spec__ = file, None, None
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", file)
    module.__builtins__ = builtins
    names: dict[str, Any] = vars(module)
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        exec(module.__loader__.source_to_code(Path(file).read_bytes(), file), names)  # noqa: S102 - the user's own script
    finally:
        sys.modules["__main__"] = before
    return names


def _run_module(name: str) -> Any:
    """Run a module as `python -m` does.

    Raises:
        ScriptNotFoundError: there is no such module, or it cannot be run.
    """
    try:
        return runpy.run_module(name, run_name="__main__", alter_sys=True)
    except ImportError as error:
        if has_user_frame(error):
            raise
        raise ScriptNotFoundError(f"{error}; what stands after -m is named as for `python -m`") from error


def _no_script(target: str) -> str:
    """What to say of a script that is no file."""
    script = Path(target)
    if script.is_dir():
        return f"{target} is a folder: name a script in it, or the package after -m"
    near = difflib.get_close_matches(script.name, [file.name for file in script.parent.glob("*.py")], n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; paths start from {Path.cwd()}"
    return f"no such script: {target}{hint}"


@contextmanager
def _arguments(argv: list[str], folder: str) -> Iterator[None]:
    """`sys.argv` and the first entry of `sys.path` as the script expects them."""
    before, path = sys.argv, list(sys.path)
    sys.argv = argv
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.argv = before
        sys.path[:] = path


@contextmanager
def _at_import(name: str, action: Callable[[], None]) -> Iterator[None]:
    """Call `action` when a module has been imported; at once where it is there already."""
    if name in sys.modules:
        action()
        yield
        return
    finder = _Finder(name, action)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module as the other finders do, and runs an action after it was executed.

    It stays until then: libraries ask for the spec first, to see whether torch is installed.
    """

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self._name = name
        self._action = action
        self._asking = False

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of the module with a loader that calls the action at the end."""
        if fullname != self._name or self._asking:
            return None
        self._asking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._executed)
        return spec

    def _executed(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self._action()


class _Loader(importlib.abc.Loader):
    """Executes a module by its own loader, then runs an action."""

    def __init__(self, loader: Any, action: Callable[[], None]) -> None:
        self._loader = loader
        self._action = action

    def __getattr__(self, name: str) -> Any:
        """What the module's own loader has, for those who only look at the spec."""
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As the module's own loader does."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Execute, put the module's own loader back, act."""
        self._loader.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._action()
