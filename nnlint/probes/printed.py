"""What the user's code prints: shown for the first pass and dropped for the others, which would repeat it fifty times."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, BinaryIO, TextIO, cast


class _Stand(io.RawIOBase):
    """Stands for a stream while user code runs: shows what is written, or counts and forgets it. To close it closes nothing else."""

    def __init__(self, stream: TextIO | None, *, shows: bool) -> None:
        super().__init__()
        self._stream = stream
        self._shows = shows
        self.dropped = 0

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def isatty(self) -> bool:
        """Whether a person reads what is shown."""
        return self._shows and self._stream is not None and self._stream.isatty()

    def write(self, data: Any) -> int:
        """Show, or count; the number of bytes taken."""
        if not self._shows:
            self.dropped += len(data)
        elif self._stream is not None:
            self._stream.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)

    def flush(self) -> None:
        """Let the stream show what it holds."""
        if self._shows and self._stream is not None and not self.closed:
            self._stream.flush()

    def fileno(self) -> int:
        """Of the stream itself: for what writes there past Python (`faulthandler`, a child process)."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()


class Printed:
    """The printing of one check. Logging and code in C, which write past Python's streams, are not dropped."""

    def __init__(self) -> None:
        self._stands: list[_Stand] = []

    @contextmanager
    def during_pass(self) -> Iterator[None]:
        """Let the first block print, and no later one. What the block puts in place of Python's streams does not stay."""
        shows = not self._stands
        out, err = self._standing_for(sys.stdout, shows=shows), self._standing_for(sys.stderr, shows=shows)
        with redirect_stdout(out), redirect_stderr(err):
            yield

    def _standing_for(self, stream: TextIO | None, *, shows: bool) -> TextIO:
        """A text stream like any other (`buffer`, `encoding`, `reconfigure`): new for each pass, since the code may close it."""
        self._stands.append(_Stand(stream, shows=shows))
        buffer = cast(BinaryIO, self._stands[-1])
        return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", write_through=True)

    @property
    def remark(self) -> str:
        """What is said of it in the report; empty where nothing was dropped."""
        size = sum(stand.dropped for stand in self._stands)
        if not size:
            return ""
        shown = (
            f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB" if size >= 1000 else f"{size} bytes"
        )
        return f"what the code prints is shown for its first pass only: {shown} of later passes were dropped"
