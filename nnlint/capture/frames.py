"""Source lines: which line of the user's code made a torch call."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

from nnlint.finding import Location

_ENGINE = str(Path(__file__).resolve().parent.parent)


@cache
def _hidden_roots() -> tuple[str, ...]:
    """Folders whose frames are not the user's: torch and the engine itself."""
    import torch

    return (str(Path(torch.__file__).resolve().parent), _ENGINE)


def is_user_file(file: str) -> bool:
    """Whether a code object's file is the user's (or a model library's): neither torch nor the engine."""
    return not file.startswith(_hidden_roots()) and not file.startswith("<")


def user_location(stop: CodeType, *, depth: int = 2) -> Location | None:
    """The innermost frame of user code between here and the function with code `stop`.

    Args:
        stop: code object of the function that drives the run: frames above it belong to the caller of nnlint.
        depth: how many frames of the recorder to pass over at the start.

    Returns:
        The line, or None when torch alone is between (an `nn.Sequential` has no line of its own for a call).
    """
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and frame.f_code is not stop:
        file = frame.f_code.co_filename
        if is_user_file(file):
            return Location(file, frame.f_lineno, getattr(frame.f_code, "co_qualname", frame.f_code.co_name))
        frame = frame.f_back
    return None
