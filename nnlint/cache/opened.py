"""Files that compiled code opens by itself, as image and tensor libraries do: Linux tells of every open in the project's folders.

Other systems, and folders outside the project, have no such teller: see docs/reference/cache.md.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

#: Folders that are watched at most: the first ones of a project, breadth first.
MOST_FOLDERS = 2000
_PASSED_OVER = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
_OPEN, _OVERFLOW, _IS_FOLDER = 0x20, 0x4000, 0x40000000  # numbers of inotify(7)
_HEADER = struct.Struct("iIII")
_BUFFER = 1 << 16


class OpenedFiles:
    """Watches the folders of a project from its making on."""

    def __init__(self, root: Path) -> None:
        self._folders: dict[int, str] = {}
        self._descriptor = -1
        if sys.platform != "linux":
            return
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            return
        for folder, _ in zip(_folders(root), range(MOST_FOLDERS), strict=False):
            watch = library.inotify_add_watch(self._descriptor, os.fsencode(folder), _OPEN)
            if watch >= 0:
                self._folders[watch] = folder

    def files(self) -> Iterator[str]:
        """The files that were opened, by whomever.

        Raises:
            OverflowError: there were more than the system keeps.
        """
        while self._descriptor >= 0:
            try:
                read = os.read(self._descriptor, _BUFFER)
            except OSError:  # no more, or the target closed every descriptor
                return
            yield from self._named(read)

    def _named(self, read: bytes) -> Iterator[str]:
        at = 0
        while at < len(read):
            watch, mask, _, length = _HEADER.unpack_from(read, at)
            name = read[at + _HEADER.size : at + _HEADER.size + length].rstrip(b"\0")
            at += _HEADER.size + length
            if mask & _OVERFLOW:
                raise OverflowError
            if name and not mask & _IS_FOLDER and watch in self._folders:
                yield f"{self._folders[watch]}{os.sep}{os.fsdecode(name)}"


def _folders(root: Path) -> Iterator[str]:
    """The folders of a project, breadth first, without hidden ones, environments and what others put there."""
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop(0)
        yield folder
        try:
            with os.scandir(folder) as entries:
                below = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            continue
        names = (name for name in below if not name.startswith(".") and name not in _PASSED_OVER)
        inside = (f"{folder}{os.sep}{name}" for name in names)
        waiting += [found for found in inside if not _is_environment(found)]


def _is_environment(folder: str) -> bool:
    try:
        return Path(folder, "pyvenv.cfg").exists()
    except OSError:  # nobody may look into it
        return False
