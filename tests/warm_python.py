"""A Python that has torch and nnlint imported, and forks for each program: what a fresh one spends seconds on.

Run as a program it serves requests, a line of JSON each, on standard input; `WarmPython` is the other side.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import traceback
import types
from pathlib import Path
from typing import Any


class WarmPython:
    """The process, from its start to `close`."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, kind: str, arguments: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
        """Run a program in a process of its own.

        Args:
            kind: what the first of `arguments` is: "code", "module", "script"; with "cells" all are cells of a notebook.
            arguments: the program, and its own arguments.
            folder: the working directory.
            environment: variables that differ from those of this process.

        Returns:
            The exit status, and everything that was printed.
        """
        output = folder / ".output"
        output.write_bytes(b"")
        request = {
            "kind": kind,
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
            "output": str(output),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return status, output.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def _serve() -> None:
    """Fork for each request; a child returns from here, and ends as any program does."""
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: dict[str, Any]) -> None:
    """Be the program that was asked for."""
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(request["output"], os.O_WRONLY | os.O_APPEND)
    for number, file in ((0, nothing), (1, output), (2, output)):
        os.dup2(file, number)
    sys.path.insert(0, "")
    first, *rest = request["arguments"]
    if request["kind"] == "module":
        sys.argv = [first, *rest]
        runpy.run_module(first, run_name="__main__", alter_sys=True)
    elif request["kind"] == "script":
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")
    elif request["kind"] == "cells":
        _run_cells(request["arguments"])
    else:
        sys.argv = ["-c", *rest]
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(first, "<string>", "exec"), vars(main))


def _run_cells(cells: list[str]) -> None:
    """Run cells one after another in IPython, without a screen."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    for cell in cells:
        shell.run_cell(cell, store_history=True).raise_error()


if __name__ == "__main__":
    from nnlint import engine

    engine.warm(several=True)
    del sys.path[0]  # the folder of this file
    try:
        _serve()
    except Exception:
        traceback.print_exc()
        sys.exit(1)
