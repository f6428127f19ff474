"""Which files belong to a target's closure, and what identifies their content."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

#: The folder of the cache.
FOLDER = ".nnlint_cache"
#: Stands for the content of a folder that was looked for.
IS_FOLDER = "folder"
#: Files above this size (bytes) are identified by size and time of modification: hashing them takes longer than a check may.
_HASHED = 1 << 26
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/usr/lib/", "/usr/share/", "/etc/")
_WRITTEN = ("__pycache__", FOLDER)
_CODE = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib")


def is_installed(file: str) -> bool:
    """Whether a file is the standard library's or an installed package's: its version stands for it."""
    return any(part in file for part in _PACKAGES) or is_pythons(file)


def is_pythons(file: str) -> bool:
    """Whether a file is the standard library's."""
    return file.startswith(("<frozen", *_standard_library())) and not any(part in file for part in _PACKAGES)


def package_of(file: str) -> str | None:
    """The name below `site-packages` that a file belongs to; None for a file that lies elsewhere."""
    for part in _PACKAGES:
        if part in file:
            return file.rpartition(part)[2].partition(os.sep)[0].removesuffix(".py")
    return "" if file.endswith(tuple(part.rstrip(os.sep) for part in _PACKAGES)) else None


def is_systems(file: str) -> bool:
    """Whether a file is the operating system's."""
    return file.startswith(_SYSTEM)


@functools.cache
def _standard_library() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({f"{os.path.realpath(paths[name])}{os.sep}" for name in ("stdlib", "platstdlib")} | {f"{paths['stdlib']}{os.sep}"})


def source_of(file: str) -> str:
    """The source of a compiled module in `__pycache__`; any other file as it is."""
    head, folder = os.path.split(file)
    if file.endswith(".pyc") and os.path.basename(head) == "__pycache__":  # noqa: PTH119 - called for every file
        return os.path.join(os.path.dirname(head), f"{folder.partition('.')[0]}.py")  # noqa: PTH118, PTH120
    return file


def content(file: str) -> str | None:
    """What identifies the content of a file; None where there is none. A folder is only there."""
    try:
        found = os.stat(file)  # noqa: PTH116 - called for every file of a closure
        if stat.S_ISDIR(found.st_mode):
            return IS_FOLDER
        if not stat.S_ISREG(found.st_mode):
            return "special"
        if found.st_size > _HASHED:
            return f"{found.st_size} {found.st_mtime_ns}"
        return digest([Path(file).read_bytes()])
    except (OSError, ValueError):
        return None


def changed_since(file: str, moment: int) -> bool:
    """Whether a file was written, renamed or made at or after a moment (nanoseconds since the epoch)."""
    try:
        found = os.stat(file)  # noqa: PTH116
    except (OSError, ValueError):
        return False
    return not stat.S_ISDIR(found.st_mode) and max(found.st_mtime_ns, found.st_ctime_ns) >= moment


def digest(parts: Iterable[bytes]) -> str:
    """A hash over byte strings."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
        total.update(b"\0")
    return total.hexdigest()[:32]


def entries(folder: str) -> list[str]:
    """The names in a folder; none where it cannot be read. What Python and nnlint write there does not count."""
    try:
        return sorted(name for name in os.listdir(folder) if name not in _WRITTEN)  # noqa: PTH208
    except OSError:
        return []


def importable(folder: str, names: Iterable[str]) -> list[str]:
    """What `import` could find under these names in a folder: modules, packages and folders."""
    wanted = frozenset(names)
    found = (name for name in entries(folder) if name.partition(".")[0] in wanted)
    return [name for name in found if name.endswith(_CODE) or os.path.isdir(os.path.join(folder, name))]  # noqa: PTH112, PTH118


def path_folders() -> list[str]:
    """The folders of `sys.path` whose modules are no installed package's."""
    folders = (os.path.abspath(entry or os.curdir) for entry in sys.path)  # noqa: PTH100
    return sorted({folder for folder in folders if not is_installed(f"{folder}{os.sep}")})
