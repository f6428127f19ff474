"""Importing the user's modules and files, and saying exactly what went wrong when that fails."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from nnlint.frames import format_trace, has_user_frame, is_fatal, location_of_exception, syntax_fault, text_of
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
    if not _is(file.is_file):
        raise _no_file(where, file, options)
    root = _import_root(file)
    dotted = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    if file.parent != root and all(part.isidentifier() for part in dotted.split(".")):
        return _guarded(where, lambda: importlib.import_module(dotted), options)
    return _guarded(where, lambda: _executed(file), options)


def _is(asked: Callable[[], bool]) -> bool:
    """What `Path.is_file` or `is_dir` says; no where the system does not take the name (too long)."""
    try:
        return asked()
    except (OSError, ValueError):
        return False


def _executed(file: Path) -> ModuleType:
    """The file run as a module of its own name: two files called model.py do not replace each other."""
    digest = hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:8]
    name = f"{file.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SetupError("RUN001", f"{file} is not a Python file", fix="name a .py file or an importable module")
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
        message = f"{where!r} is neither a module name nor a path to a .py file"
        raise SetupError("RUN001", message, fix="write package.module:attribute or path/to/file.py:attribute")
    return where


def _guarded(where: str, load: Callable[[], ModuleType], options: SetupOptions) -> ModuleType:
    try:
        with seeded(options.seed):
            return load()
    except SetupError:
        raise
    except ModuleNotFoundError as error:
        if not has_user_frame(error):
            raise _no_module(where, error, options) from error
        if error.name is None:  # a library says in its own words what it lacks
            raise _broken(where, error) from error
        fix = f"install it for {sys.executable}, or correct the name"
        raise _inside(where, error, f"imports {error.name!r}, which is not installed", fix) from error
    except SystemExit as error:
        fix = "put what runs a script under `if __name__ == '__main__':`"
        raise _inside(where, error, f"called sys.exit({error.code!r}) while being imported", fix) from error
    except SyntaxError as error:
        what = syntax_fault(error)
        fix = "save it as UTF-8" if "UTF-8" in what else "correct the line"
        raise _inside(where, error, f"is not valid Python: {what}", fix) from error
    except BaseException as error:
        if is_fatal(error):
            raise
        raise _broken(where, error) from error


def _broken(where: str, error: BaseException) -> SetupError:
    fix = f"make the import work without nnlint first: {_import_command(where)}"
    return _inside(where, error, f"raised {type(error).__name__} while being imported: {text_of(error)}", fix)


def _import_command(where: str) -> str:
    return f"python {where}" if where.endswith(".py") else f'python -c "import {where}"'


def _inside(where: str, error: BaseException, what: str, fix: str) -> SetupError:
    # A syntax error is told whole by its line.
    trace = None if isinstance(error, SyntaxError) else format_trace(error)
    return SetupError("RUN001", f"{where} {what}", location=location_of_exception(error), trace=trace, fix=fix)


def _no_module(where: str, error: ModuleNotFoundError, options: SetupOptions) -> SetupError:
    parent, _, last = where.rpartition(".")
    missing = error.name or where
    if parent and missing == where:
        package = sys.modules.get(parent)
        if package is not None and not hasattr(package, "__path__"):
            message = f"module {where!r} not found: {parent} is a module, not a package; did you mean {parent}:{last}?"
            return SetupError("RUN001", message, fix=f"write {parent}:{last}")
        names = [info.name for info in pkgutil.iter_modules(getattr(package, "__path__", []))]
        message = f"module {where!r} not found in the package {parent}{near_names(last, names)}"
        return SetupError("RUN001", message, fix=f"name a module of {parent}")
    if _is((options.base / where).is_file):
        fix = "name a .py file or an importable module; hf:PATH takes the configuration of a Hugging Face model"
        return SetupError("RUN001", f"{where} is not a Python file", fix=fix)
    names = [info.name for info in pkgutil.iter_modules([str(options.base)])]
    tried = f" (looked in {options.base} and on sys.path)"
    message = f"module {missing!r} not found{tried}{near_names(missing, names)}"
    return SetupError("RUN001", message, fix="start nnlint where the module is, install it, or name its file: path/to/file.py:attribute")


def _no_file(where: str, file: Path, options: SetupOptions) -> SetupError:
    if _is(file.is_dir):
        inside = sorted(path.name for path in file.glob("*.py"))
        listed = f": {', '.join(inside[:8])}" if inside else ""
        example = f"{where.rstrip('/')}/{inside[0] if inside else 'model.py'}"
        return SetupError("RUN001", f"{where} is a directory: name a file in it{listed}", fix=f"write {example}:attribute")
    fix = f"correct the path; it starts from {options.base}"
    if not _is(file.parent.is_dir):
        return SetupError("RUN001", f"file {where} not found: there is no directory {file.parent}", fix=fix)
    there = sorted(path.name for path in file.parent.glob("*.py"))
    near = nearest(file.name, there)
    fix = f"write {Path(where).with_name(near[0]).as_posix()}" if near else fix
    return SetupError("RUN001", f"file {where} not found{near_names(file.name, there)}", fix=fix)


def nearest(name: str, candidates: list[str]) -> list[str]:
    """The names most like one that is not there, best first."""
    return difflib.get_close_matches(name, candidates, n=3)


def near_names(name: str, candidates: list[str]) -> str:
    """The end of a "not found" message: the names most like it, else what there is."""
    near = nearest(name, candidates)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are {', '.join(candidates[:8])}" if candidates else ""
