"""The line to show for a call, a construction or an exception: the user's line, else the library's that made it."""

from __future__ import annotations

import dis
import sys
import traceback
from collections.abc import Iterable
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

from nnlint.finding import Location
from nnlint.provenance import Owner, is_nnlint_file, is_tool_file, owner_of


class CallLines(NamedTuple):
    """Where a call was made.

    Attributes:
        code: the innermost line that is neither torch's nor another tool's: the user's or a model library's.
        user: the innermost line of the user's; `code` where there is none, as in a model of a library.
    """

    code: Location | None = None
    user: Location | None = None


def location_of(code: CodeType, line: int) -> Location:
    """The location of a line in a code object, with the qualified name of its function."""
    # Python 3.10 knows no qualified names of code objects.
    name: str = getattr(code, "co_qualname", code.co_name)
    return Location(code.co_filename, line, None if name == "<module>" else name)


def call_lines(stop: CodeType) -> CallLines:
    """The lines that made the call which is running.

    Args:
        stop: code object of the function that drives the run: frames above it belong to the caller of nnlint.

    Returns:
        Both lines; None when tools alone are between (an `nn.Sequential` has no line of its own for a call).
    """
    code: Location | None = None
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 the way to a frame that every Python has
    while frame is not None and frame.f_code is not stop:
        owner = owner_of(frame.f_code.co_filename)
        if owner is not Owner.TOOL:
            place = location_of(frame.f_code, frame.f_lineno)
            code = code or place
            if owner is Owner.USER:
                return CallLines(code, place)
        frame = frame.f_back
    return CallLines(code, code)


def construction_line(made: object, frame: FrameType | None) -> Location | None:
    """The first line, from `frame` outwards, that is neither a method of the object being made nor a tool's."""
    while frame is not None:
        if not _is_method_of(made, frame) and not is_tool_file(frame.f_code.co_filename):
            return location_of(frame.f_code, frame.f_lineno)
        frame = frame.f_back
    return None


def _is_method_of(made: object, frame: FrameType) -> bool:
    code = frame.f_code
    if code.co_argcount == 0 or not code.co_varnames:
        return False
    # Any method running on the object while it is built, not only __init__, is part of making it.
    return frame.f_locals.get(code.co_varnames[0]) is made


def location_of_exception(error: BaseException, below: CodeType | None = None) -> Location | None:
    """The innermost line of the user's that `error` passed through, else of a model library's.

    A syntax error has no frame: it is at the line that could not be parsed.

    Args:
        error: the exception, as caught.
        below: code object of the function that drove the run; only frames below it count.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return Location(error.filename, error.lineno)
    steps = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    if below is not None:
        drivers = [index for index, (code, _) in enumerate(steps) if code is below]
        steps = steps[drivers[-1] + 1 :] if drivers else []
    for wanted in (Owner.USER, Owner.LIBRARY):
        for code, line in reversed(steps):
            if owner_of(code.co_filename) is wanted:
                return location_of(code, line)
    return None


def text_of(error: BaseException) -> str:
    """The words of an exception, also of one that cannot be printed."""
    try:
        return str(error)
    except BaseException as failure:
        return f"(no text: its __str__ raises {type(failure).__name__})"


def syntax_fault(error: SyntaxError) -> str:
    """What is wrong with a source file that Python cannot parse, without the place, which `location_of_exception` tells."""
    if any(sign in error.msg for sign in ("'utf-8' codec", "Non-UTF-8", "null bytes")):
        return "the file is not UTF-8 text"
    return error.msg


def is_fatal(error: BaseException) -> bool:
    """Whether an exception must not be turned into a finding: the user pressed Ctrl-C.

    A `raise KeyboardInterrupt` in code is an exception like any other: there the last thing that ran is the raise.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step is None or step.tb_frame.f_code.co_code[step.tb_lasti] != dis.opmap["RAISE_VARARGS"]


def is_raised_by_user(error: BaseException, besides: str = "") -> bool:
    """Whether the code that raised, past torch and other tools, is the user's or a library's and not nnlint's.

    Args:
        error: the exception, as caught.
        besides: a file that does not count: a rule's own.
    """
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    for file in reversed(files):
        if is_nnlint_file(file) or file == besides:
            return False
        if owner_of(file) is not Owner.TOOL:
            return True
    return False


def has_user_frame(error: BaseException) -> bool:
    """Whether `error` was raised in code that was being run, rather than by the import system looking for it."""
    return any(not is_tool_file(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__))


def format_trace(error: BaseException) -> str:
    """The traceback of `error` from the first line of the user's or a library's on, without nnlint's own frames."""
    trace = _first_user_frame(error.__traceback__) or error.__traceback__
    shown = traceback.TracebackException(type(error), error, trace)
    seen: set[int] = set()
    _strip(shown, seen)
    return "".join(shown.format()).rstrip()


def _strip(shown: Any, seen: set[int]) -> None:
    """Take nnlint's frames out of an exception and of those that it names as its causes."""
    if shown is None or id(shown) in seen:
        return
    seen.add(id(shown))
    kept: Iterable[traceback.FrameSummary] = [frame for frame in shown.stack if not _is_machinery(frame.filename)]
    shown.stack = traceback.StackSummary.from_list(kept)
    _strip(shown.__cause__, seen)
    _strip(shown.__context__, seen)


def _is_machinery(file: str) -> bool:
    """Whether a frame says nothing of the user's fault: nnlint's own, or the import system's."""
    return is_nnlint_file(file) or file.startswith(("<frozen importlib", "<frozen runpy"))


def _first_user_frame(trace: TracebackType | None) -> TracebackType | None:
    current = trace
    while current is not None and is_tool_file(current.tb_frame.f_code.co_filename):
        current = current.tb_next
    return current
