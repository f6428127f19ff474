"""Records what a target uses while it is checked, in the process that does nothing else.

Python's audit events tell of every file that is opened, every folder that is listed and every import, whoever asks; `os.stat`
and `os.environ`, which have none, are watched for questions. Processes that the target forks, as those of a DataLoader, record
into a file. Of files that compiled code opens the system tells. What cannot be followed is an obstacle, and the result is not kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from nnlint.cache import places
from nnlint.cache.opened import OpenedFiles

_PACKAGE = str(Path(__file__).absolute().parent.parent)
_WRITES = os.O_WRONLY | os.O_RDWR
_PROGRAM, _NETWORK = "it starts another program", "it uses the network"
#: Events that mean something that the recording cannot see: what they mean, and which of their arguments names it.
_OBSTACLES = {
    "subprocess.Popen": (_PROGRAM, 0),
    "os.system": (_PROGRAM, 0),
    "os.exec": (_PROGRAM, 0),
    "os.posix_spawn": (_PROGRAM, 0),
    "os.spawn": (_PROGRAM, 1),
    "socket.getaddrinfo": (_NETWORK, 0),
}
#: Letters of a program's name that are told.
_LONGEST_NAME = 40
#: Variables that differ from one terminal to the next; they count only where the target's own code asks for them.
VOLATILE = frozenset(
    {
        "COLORTERM", "COLUMNS", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "GIT_INDEX_FILE", "INVOCATION_ID", "JOURNAL_STREAM",
        "LINES", "OLDPWD", "PRE_COMMIT", "PWD", "PYTEST_CURRENT_TEST", "SHLVL", "SSH_AUTH_SOCK", "SSH_CLIENT", "SSH_CONNECTION",
        "SSH_TTY", "TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "TERM_SESSION_ID", "TMUX", "TMUX_PANE", "WINDOWID",
        "XDG_SESSION_ID", "_",
    }
)  # fmt: skip
#: What torch imports late; the version stands for it, as for torch.
_OF_TORCH = frozenset({"filelock", "fsspec", "functorch", "jinja2", "mpmath", "networkx", "numpy", "sympy", "torch", "torchgen", "triton"})
#: Modules that Python imports when it starts a process that is no fork.
_SPAWNING = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_spawn_win32", "multiprocessing.popen_forkserver")


@dataclass
class Used:
    """What a target used.

    Attributes:
        files: it opened or looked at, and modules it imported.
        folders: it listed.
        imports: names that were looked for.
        variables: of the environment that it asked for; "*" for all of them.
        obstacles: why the result must not be kept.
        names: for folders that modules were looked for in, the names.
        since: when the recording began, in nanoseconds since the epoch.
    """

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    obstacles: set[str] = field(default_factory=set)
    names: dict[str, list[str]] = field(default_factory=dict)
    since: int = 0

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON carries it."""
        return {name: sorted(value) if isinstance(value, set) else value for name, value in vars(self).items()}

    @classmethod
    def of_json(cls, read: dict[str, Any]) -> Used:
        """What `as_json` made.

        Raises:
            KeyError, TypeError: it was something else.
        """
        kinds = ("files", "folders", "imports", "variables", "obstacles")
        sets = {name: set(map(str, read[name])) for name in kinds}
        return cls(**sets, names={str(key): list(value) for key, value in read["names"].items()}, since=int(read["since"]))


class Recording:
    """The recording of one job; it ends with the process."""

    def __init__(self, file: Path, root: Path) -> None:
        self._file, self._owner = file, os.getpid()
        self._opened = OpenedFiles(root)
        self._used = Used(since=time.time_ns())
        self._before = frozenset(sys.modules)
        #: Packages that every check needs; their versions stand for them, and for what they ask.
        self._tools = _OF_TORCH.union(name for name in self._before if "." not in name)
        roots = (folder for name in self._tools & sys.modules.keys() for folder in getattr(sys.modules[name], "__path__", ()))
        self._sources = tuple(f"{root}{os.sep}" for root in roots if not places.is_installed(f"{root}{os.sep}"))
        self._written: set[str] = set()
        self._handlers: dict[str, Callable[[tuple[Any, ...]], None]] = {
            "open": self._on_open,
            "import": self._on_import,
            "os.listdir": self._on_listing,
            "os.scandir": self._on_listing,
            "socket.connect": self._on_connection,
            "sqlite3.connect": lambda arguments: self._looked_at(arguments[0]),
            "ctypes.dlopen": lambda arguments: self._looked_at(arguments[0]),
            **{event: self._obstacle(*told) for event, told in _OBSTACLES.items()},
        }

    def begin(self) -> None:
        """Watch from here on. There is no way back: audit hooks stay."""
        sys.addaudithook(self._hook)
        _watch_stat(self._on_stat)
        _watch_environment(self._on_variable)

    def used(self) -> Used:
        """What was used so far, by this process and by those it forked."""
        for kind, value in self._of_children():
            getattr(self._used, kind).add(value)
        try:
            # Sources are what Python imports, and it tells of them itself: others may read them at the same time.
            self._used.files.update(file for file in self._opened.files() if not file.endswith((".py", ".pyc")))
        except OverflowError:
            self._used.obstacles.add("it opens more files than can be followed")
        done = self._used
        modules: dict[str, object] = {**sys.modules}
        # A module of an installed package counts where the target brought it: a package may well be edited in place.
        brought = {file for name in modules.keys() - self._before for file in _files_of(modules[name])}
        known = {name: module for name, module in modules.items() if not self._is_tools_source(module)}
        return Used(
            files={file for file in map(places.source_of, done.files | brought) if self._counts(file)},
            folders={folder for folder in done.folders if self._counts(f"{folder}{os.sep}") and places.package_of(folder) is None},
            variables=done.variables,
            obstacles=done.obstacles,
            names=dict(_names(known, done.imports)),
            since=done.since,
        )

    def _counts(self, file: str) -> bool:
        if file in self._written or places.is_systems(file) or places.is_pythons(file):
            return False
        if file.startswith((str(self._file.parent), f"{_PACKAGE}{os.sep}")):
            return False
        package = places.package_of(file)
        if package is not None:
            return package not in self._tools and not package.endswith(("-info", ".pth")) and package != ""
        return not (file.endswith(".py") and file.startswith(self._sources))

    def _is_tools_source(self, module: object) -> bool:
        return any(file.startswith((f"{_PACKAGE}{os.sep}", *self._sources)) for file in _files_of(module))

    def _is_asked_by_tool(self, frame: FrameType | None) -> bool:
        """Whether a package that every check needs asks on its own behalf; nnlint looks at files on the target's."""
        package = places.package_of(_asker(frame))
        return package in self._tools and package != "nnlint"

    def _is_asked_by_nnlint(self, frame: FrameType | None) -> bool:
        return _asker(frame).startswith(f"{_PACKAGE}{os.sep}")

    # ---------------------------------------------------------------- events

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        handler = self._handlers.get(event)
        if handler is not None:
            with contextlib.suppress(Exception):  # it would end what is watched
                handler(arguments)

    def _on_open(self, arguments: tuple[Any, ...]) -> None:
        path, mode, flags = arguments
        name = _absolute(path)
        if name is None:
            return
        writes = bool(flags & _WRITES) if isinstance(flags, int) else any(letter in (mode or "") for letter in "wax+")
        reads = not writes or (isinstance(flags, int) and flags & os.O_RDWR and not flags & os.O_TRUNC)
        if writes and name not in self._used.files:
            self._written.add(name)
        elif reads:
            self._note("files", name)

    def _on_import(self, arguments: tuple[Any, ...]) -> None:
        self._note("imports", str(arguments[0]))
        if arguments[0] in _SPAWNING:
            self._note("obstacles", f"{_PROGRAM}: a Python process that is no fork")

    def _on_listing(self, arguments: tuple[Any, ...]) -> None:
        name = _absolute(arguments[0] if arguments[0] is not None else os.curdir)
        frame = sys._getframe(2)  # noqa: SLF001 - past the hook and its handler
        if name is None or _is_search(frame.f_code.co_filename):  # of an import: see `names`
            return
        if not self._is_asked_by_nnlint(frame) and not self._is_asked_by_tool(frame):
            self._note("folders", name)

    def _on_stat(self, path: object) -> None:
        if not self._is_asked_by_tool(sys._getframe(2)):  # noqa: SLF001
            self._looked_at(path)

    def _on_variable(self, name: str) -> None:
        frame = sys._getframe(2)  # noqa: SLF001
        if self._is_asked_by_nnlint(frame) or self._is_asked_by_tool(frame):
            return
        if name not in VOLATILE or places.package_of(_asker(frame)) is None:
            self._note("variables", name)

    def _on_connection(self, arguments: tuple[Any, ...]) -> None:
        if not isinstance(arguments[1], str | bytes):  # those have names: processes of one machine talk to each other
            self._obstacle(_NETWORK, 1)(arguments)

    def _looked_at(self, path: object) -> None:
        name = _absolute(path)
        if name is not None and name not in self._written:
            self._note("files", name)

    def _obstacle(self, reason: str, index: int) -> Callable[[tuple[Any, ...]], None]:
        return lambda arguments: self._note("obstacles", f"{reason}{_named(arguments[index])}")

    def _note(self, kind: str, value: str) -> None:
        known = getattr(self._used, kind)
        if value in known:
            return
        known.add(value)
        if os.getpid() != self._owner:
            line = json.dumps([kind, value]).encode("utf-8", "replace") + b"\n"
            with self._file.open("ab", buffering=0) as stream:
                stream.write(line)

    def _of_children(self) -> Iterator[tuple[str, str]]:
        try:
            lines = self._file.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            with contextlib.suppress(ValueError):
                kind, value = json.loads(line)
                yield kind, value


def _named(argument: object) -> str:
    """Which program or host it was: `: git`, or nothing where it cannot be told."""
    if isinstance(argument, tuple) and argument:  # an address
        argument = argument[0]
    if isinstance(argument, bytes | os.PathLike):
        argument = os.fsdecode(argument)
    words = argument.split() if isinstance(argument, str) else []
    return f": {os.path.basename(words[0])[:_LONGEST_NAME]}" if words else ""  # noqa: PTH119 - may run in the middle of pathlib


def _absolute(path: object) -> str | None:
    if isinstance(path, int) or not isinstance(path, str | bytes | os.PathLike):
        return None
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - may run in the middle of pathlib


def _is_search(file: str) -> bool:
    """Whether this code looks for modules, or for the versions of packages, in every folder of `sys.path`."""
    return file.startswith("<frozen importlib") or f"{os.sep}importlib{os.sep}metadata" in file


def _asker(frame: FrameType | None) -> str:
    """The file of the innermost code that is not Python's own."""
    while frame is not None and places.is_pythons(frame.f_code.co_filename):
        frame = frame.f_back
    return frame.f_code.co_filename if frame is not None else ""


def _files_of(module: object) -> Iterator[str]:
    spec = getattr(module, "__spec__", None)
    for file in (getattr(module, "__file__", None), getattr(spec, "origin", None)):
        if isinstance(file, str) and os.path.isabs(file):  # noqa: PTH117
            yield file


def _names(modules: dict[str, object], imports: set[str]) -> Iterator[tuple[str, list[str]]]:
    """The folders that the target's modules may come from, with the names that were looked for there."""
    children: dict[str, set[str]] = {}
    for name in (*modules, *imports):
        parent, _, last = name.rpartition(".")
        children.setdefault(parent, set()).add(last)
    for folder in places.path_folders():
        yield folder, sorted(children.get("", ()))
    for name, module in modules.items():
        for folder in getattr(module, "__path__", ()) if name in children else ():
            if isinstance(folder, str) and not places.is_installed(f"{folder}{os.sep}"):
                yield folder, sorted(children[name])


def _watch_stat(on_path: Callable[[object], None]) -> None:
    """Tell of every path that is asked for by `os.stat`, which `Path.exists` and `os.path.isfile` go through."""
    original = os.stat

    def stat(path: Any, **keywords: Any) -> os.stat_result:
        if keywords.get("dir_fd") is None:
            with contextlib.suppress(Exception):
                on_path(path)
        return original(path, **keywords)

    for abilities in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if original in abilities:
            abilities.add(stat)
    vars(os)["stat"] = stat
    accessor = getattr(pathlib, "_NormalAccessor", None)  # Python 3.10 keeps the function
    if accessor is not None:
        accessor.stat = staticmethod(stat)


def _watch_environment(on_name: Callable[[str], None]) -> None:
    """Tell of every variable that is asked for; "*" where all of them are."""

    class Watched(os._Environ):  # type: ignore[type-arg]  # noqa: SLF001 - the type of os.environ
        def __getitem__(self, key: str) -> str:
            if isinstance(key, str):
                with contextlib.suppress(Exception):  # it would end what is watched
                    on_name(key)
            return str(super().__getitem__(key))

        def __iter__(self) -> Iterator[str]:
            with contextlib.suppress(Exception):
                on_name("*")
            return super().__iter__()

    os.environ.__class__ = Watched
