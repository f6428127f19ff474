"""Importing the user's modules and files, and saying exactly what went wrong when that fails."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from nnlint.frames import format_trace, has_user_frame, is_fatal, location_of_exception, text_of
from nnlint.provenance import is_installed
from nnlint.seeding import seeded
from nnlint.setup.errors import SetupError
from nnlint.setup.options import SetupOptions


@contextmanager
def importing(where: str, options: SetupOptions) -> Iterator[Path | None]:
    """The imports of the target work as they do when its file is run; yields the file, or None for a module name.

    Its directory comes first on `sys.path`. A module of the same name as one beside the file, loaded earlier from
    another directory, makes room for the time of the block. `sys.argv` is that of a script without arguments.
    """
    file = _file_of(where, options)
    root = _import_root(file) if file is not None else options.base
    for directory in dict.fromkeys((str(options.base), str(root))):
        if directory in sys.path:
            sys.path.remove(directory)
        sys.path.insert(0, directory)
    importlib.invalidate_caches()
    hidden = _hide_namesakes(root)
    arguments = sys.argv
    sys.argv = [str(file) if file is not None else where]
    try:
        yield file
    finally:
        sys.argv = arguments
        sys.modules.update(hidden)


def _file_of(where: str, options: SetupOptions) -> Path | None:
    looks_like_file = where.endswith(".py") or "/" in where or "\\" in where
    return (options.base / Path(where).expanduser()) if looks_like_file else None


def _import_root(file: Path) -> Path:
    """The directory that makes the file's imports work: its own, or the one above its outermost package."""
    directory = file.parent
    while (directory / "__init__.py").exists() and directory.parent != directory:
        directory = directory.parent
    return directory


def _hide_namesakes(root: Path) -> dict[str, ModuleType]:
    """Take modules out of `sys.modules` that would be found instead of the ones in `root`, and return them."""
    if not root.is_dir():
        return {}
    beside = {path.stem for path in root.glob("*.py")} | {path.parent.name for path in root.glob("*/__init__.py")}
    hidden = {}
    for name, module in sys.modules.copy().items():
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] not in beside or not isinstance(file, str) or name == "__main__":
            continue
        # Installed packages and the standard library stay: two copies of them break more than a shadowed name.
        if not is_installed(file) and root.resolve() not in Path(file).resolve().parents:
            hidden[name] = sys.modules.pop(name)
    return hidden


def load_module(where: str, file: Path | None, options: SetupOptions) -> ModuleType:
    """The module of a target, imported inside `importing`.

    Raises:
        SetupError: RUN001: not found, or an error inside it.
    """
    if file is None:
        return _guarded(where, lambda: importlib.import_module(_checked_name(where)), options)
    if not file.is_file():
        raise SetupError("RUN001", _no_file(where, file))
    root = _import_root(file)
    dotted = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    if file.parent != root and all(part.isidentifier() for part in dotted.split(".")):
        return _guarded(where, lambda: importlib.import_module(dotted), options)
    return _guarded(where, lambda: _executed(file), options)


def _executed(file: Path) -> ModuleType:
    """The file run as a module of its own name: two files called model.py do not replace each other."""
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    name = f"{file.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SetupError("RUN001", f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Pickling, as worker processes of a DataLoader need it, looks classes up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _checked_name(where: str) -> str:
    if not all(part.isidentifier() for part in where.split(".")):
        raise SetupError("RUN001", f"{where!r} is neither a module name nor a path to a .py file")
    return where


def _guarded(where: str, load: Callable[[], ModuleType], options: SetupOptions) -> ModuleType:
    try:
        with seeded(options.seed):
            return load()
    except SetupError:
        raise
    except ModuleNotFoundError as error:
        if not has_user_frame(error):
            raise SetupError("RUN001", _no_module(where, error, options)) from error
        name = error.name or str(error)
        raise _inside(where, error, f"imports {name!r}, which is not installed") from error
    except SystemExit as error:
        advice = "put what runs a script under `if __name__ == '__main__':`"
        raise _inside(where, error, f"called sys.exit({error.code!r}) while being imported", advice) from error
    except BaseException as error:
        if is_fatal(error):
            raise
        raise _inside(where, error, f"raised {type(error).__name__} while being imported: {text_of(error)}") from error


def _inside(where: str, error: BaseException, what: str, advice: str = "") -> SetupError:
    location = location_of_exception(error)
    place = f" (at {location})" if location is not None else ""
    message = f"{where} {what}{place}{'; ' + advice if advice else ''}"
    return SetupError("RUN001", message, location=location, trace=format_trace(error))


def _no_module(where: str, error: ModuleNotFoundError, options: SetupOptions) -> str:
    parent, _, last = where.rpartition(".")
    missing = error.name or where
    if parent and missing == where:
        package = sys.modules.get(parent)
        if package is not None and not hasattr(package, "__path__"):
            return f"module {where!r} not found: {parent} is a module, not a package; did you mean {parent}:{last}?"
        names = [info.name for info in pkgutil.iter_modules(getattr(package, "__path__", []))]
        return f"module {where!r} not found in the package {parent}{near_names(last, names)}"
    names = [info.name for info in pkgutil.iter_modules([str(options.base)])]
    tried = f" (looked in {options.base} and on sys.path)"
    return f"module {missing!r} not found{tried}{near_names(missing, names)}"


def _no_file(where: str, file: Path) -> str:
    if file.is_dir():
        inside = sorted(path.name for path in file.glob("*.py"))
        return f"{where} is a directory: name a file in it{': ' + ', '.join(inside[:8]) if inside else ''}"
    if not file.parent.is_dir():
        return f"file {where} not found: there is no directory {file.parent}"
    return f"file {where} not found{near_names(file.name, sorted(path.name for path in file.parent.glob('*.py')))}"


def near_names(name: str, candidates: list[str]) -> str:
    """The end of a "not found" message: the names most like it, else what there is."""
    near = difflib.get_close_matches(name, candidates, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are {', '.join(candidates[:8])}" if candidates else ""
