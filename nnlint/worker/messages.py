"""Lines of JSON in a file: how the worker's processes tell what they have done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def append(file: Path, content: dict[str, Any]) -> None:
    """Add one line. The file is opened each time: user code may close every descriptor that it did not open.

    Raises:
        OSError: the file cannot be written.
    """
    # A lone half of a surrogate pair, as file names can hold it, is no valid text for the reader.
    line = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    with file.open("ab", buffering=0) as stream:
        stream.write(line)


@dataclass
class Tail:
    """The complete lines that were added to a file since the last call."""

    file: Path
    position: int = 0
    rest: bytes = b""
    broken: int = 0

    def new(self) -> list[dict[str, Any]]:
        """The new lines; one that is still being written waits, one that is no JSON object is counted in `broken`."""
        try:
            with self.file.open("rb") as stream:
                stream.seek(self.position)
                added = stream.read()
        except FileNotFoundError:
            return []
        self.position += len(added)
        *lines, self.rest = (self.rest + added).split(b"\n")
        found = []
        for line in lines:
            try:
                content = json.loads(line)
            except ValueError:
                content = None
            if isinstance(content, dict):
                found.append(content)
            else:
                self.broken += 1
        return found
