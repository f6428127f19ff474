"""What the user's code prints: shown for the first pass and dropped for the others, which would repeat it fifty times."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


class _Dropped(io.TextIOBase):
    """Counts what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = 0

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Count and forget."""
        self.characters += len(text)
        return len(text)


class Printed:
    """The printing of one check. Logging and code in C, which write past Python's streams, are not dropped."""

    def __init__(self) -> None:
        self._dropped = _Dropped()
        self._passes = 0

    @contextmanager
    def during_pass(self) -> Iterator[None]:
        """Let the first block print, and no later one."""
        self._passes += 1
        # Where the block puts other streams in place of Python's, they do not stay.
        first = self._passes == 1
        out, err = (sys.stdout, sys.stderr) if first else (self._dropped, self._dropped)
        with redirect_stdout(out), redirect_stderr(err):
            yield

    @property
    def remark(self) -> str:
        """What is said of it in the report; empty where nothing was dropped."""
        if not self._dropped.characters:
            return ""
        size = self._dropped.characters
        shown = (
            f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB" if size >= 1000 else f"{size} characters"
        )
        return f"what the code prints is shown for its first pass only: {shown} of later passes were dropped"
