"""Which stack frames are the user's, and how an exception of the user's code is shown."""

from __future__ import annotations

import functools
import os
import site
import sysconfig
import traceback
from pathlib import Path
from types import CodeType, TracebackType

from nnlint.finding import Location


@functools.cache
def _tool_directories() -> tuple[str, ...]:
    """The directories of torch and nnlint, whose frames are never the place of a fault."""
    import torch

    own = Path(__file__).absolute().parent
    return (f"{Path(torch.__file__).absolute().parent}{os.sep}", f"{own}{os.sep}")


@functools.cache
def _library_directories() -> tuple[str, ...]:
    """Where the standard library and installed packages live."""
    paths = sysconfig.get_paths()
    found = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages())
    found.add(site.getusersitepackages())
    return tuple(f"{Path(path).absolute()}{os.sep}" for path in sorted(found))


@functools.cache
def is_tool_file(filename: str) -> bool:
    """Whether a frame of this file belongs to torch, nnlint, the import system or generated code."""
    if filename.startswith("<"):
        return not filename.startswith(("<stdin", "<ipython", "<doctest", "<string"))
    path = Path(filename).absolute()
    return str(path).startswith(_tool_directories()) or "importlib" in path.parts


@functools.cache
def is_library_file(filename: str) -> bool:
    """Whether a frame of this file belongs to Python, an installed package or nnlint, not to the user's project."""
    return is_tool_file(filename) or str(Path(filename).absolute()).startswith(_library_directories())


def location_of(code: CodeType, line: int) -> Location:
    """The location of a line in a code object, with the qualified name of its function."""
    # Python 3.10 knows no qualified names of code objects.
    name: str = getattr(code, "co_qualname", code.co_name)
    return Location(code.co_filename, line, None if name == "<module>" else name)


def location_of_exception(error: BaseException) -> Location | None:
    """The innermost line of the user's project that `error` passed through, else of any code but nnlint's and torch's.

    A syntax error has no frame: it is at the line that could not be parsed.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return Location(error.filename, error.lineno)
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    for is_foreign in (is_library_file, is_tool_file):
        for code, line in reversed(frames):
            if not is_foreign(code.co_filename):
                return location_of(code, line)
    return None


def has_user_frame(error: BaseException) -> bool:
    """Whether `error` was raised in code that was being run, rather than by the import system looking for it."""
    return any(not is_tool_file(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__))


def format_trace(error: BaseException) -> str:
    """The traceback of `error` from the user's first frame on."""
    return "".join(traceback.format_exception(type(error), error, _first_user_frame(error.__traceback__))).rstrip()


def _first_user_frame(trace: TracebackType | None) -> TracebackType | None:
    current = trace
    while current is not None and is_tool_file(current.tb_frame.f_code.co_filename):
        current = current.tb_next
    return current
