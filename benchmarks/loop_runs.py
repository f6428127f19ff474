"""`nnlint run` on many scripts: each in a process of its own, forked from one that has imported torch already."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import io
import json
import os
import pkgutil
import re
import runpy
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the processes share the cores

ROOT = Path(__file__).resolve().parent.parent
_LIMIT_S = 240


@dataclass(frozen=True)
class Job:
    """A script to judge.

    Attributes:
        name: for the table.
        source: its text.
        options: further options of `nnlint run`.
        ranks: processes of a gloo group that run it, with the environment that torchrun gives them.
    """

    name: str
    source: str
    options: tuple[str, ...] = ()
    ranks: int = 1


@dataclass(frozen=True)
class Result:
    """What `nnlint run` said: `findings` as in its JSON report (a list for each target in `reports`), or why there are none."""

    name: str
    status: int | None
    reports: list[dict[str, Any]]
    seconds: float
    error: str = ""

    @property
    def findings(self) -> list[dict[str, Any]]:
        """Of all targets, in the report's order."""
        return [found for report in self.reports for found in report["findings"]]


def judged(jobs: Sequence[Job], workers: int = 2) -> Iterator[Result]:
    """The result of each job as it ends."""
    _import_everything()
    waiting, running = list(reversed(jobs)), {}
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop()
                place = Path(folder) / f"{len(waiting)}"
                running[_start(job, place)] = (job, place, time.monotonic())
            yield _next(running)


def effects(sources: Mapping[str, str], workers: int = 2) -> dict[str, str]:
    """For each script a digest of what it does, run to its end without nnlint in a process of its own.

    It holds what the script prints and every loss handed to a backward, times left out; the exception where it raises one.
    """
    return {
        name: hashlib.sha256(seen.encode()).hexdigest() if seen else "ended" for name, seen in _each(sources, _trace, workers)
    }


def observed(sources: Mapping[str, str], measure: Callable[[Any], str], workers: int = 2) -> Iterator[tuple[str, Any]]:
    """For each script what `measure` says of its log (an `Observation`), watched in a process of its own; JSON, decoded."""

    def watch(place: Path) -> None:
        from nnlint.testing import observe_source

        os.chdir(place)
        signal.alarm(_LIMIT_S)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        (place / "seen").write_text(measure(observe_source((place / "train.py").read_text())))

    return ((name, json.loads(seen)) for name, seen in _each(sources, watch, workers) if seen)


def _each(sources: Mapping[str, str], run: Callable[[Path], None], workers: int) -> Iterator[tuple[str, str]]:
    """What `run` leaves in the file `seen` of each script's folder, empty where it leaves none."""
    _import_everything()
    waiting, running = list(sources.items()), {}
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < workers:
                name, source = waiting.pop()
                place = Path(folder) / f"{len(waiting)}"
                place.mkdir()
                (place / "train.py").write_text(source, encoding="utf-8")
                running[_forked(run, place)] = (name, place)
            pid, _ = os.wait()
            if pid in running:
                name, place = running.pop(pid)
                seen = place / "seen"
                yield name, seen.read_text() if seen.exists() else ""


def _forked(run: Callable[[Path], None], place: Path) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            run(place)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    return pid


def _trace(place: Path) -> None:
    import torch

    os.chdir(place)
    sys.argv = ["train.py"]
    signal.alarm(_LIMIT_S)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    losses: list[str] = []
    backward = torch.Tensor.backward

    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        losses.append(self.detach().double().sum().item().hex())
        return backward(self, *args, **kwargs)

    torch.Tensor.backward = recorded  # type: ignore[method-assign,assignment]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_path("train.py", run_name="__main__")
        except BaseException as error:
            said.write(type(error).__name__)
    text = re.sub(r"\d+\.\d+s|in \d+s", "", said.getvalue())
    (place / "seen").write_text("\n".join([text, *losses]), encoding="utf-8")


def _import_everything() -> None:
    """What every run needs, so that no process has to read it again: nnlint, and what torch imports at the first optimizer."""
    import torch
    import torch.distributed
    import torch.optim.lr_scheduler
    import torch.utils.data

    import nnlint
    from nnlint import registry

    for module in pkgutil.walk_packages(nnlint.__path__, "nnlint."):
        if not module.name.startswith(("nnlint.integrations", "nnlint.worker", "nnlint.__main__", "nnlint.testing")):
            importlib.import_module(module.name)
    registry.load()
    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.zeros(1))
    torch.optim.Adam([weight]).step()
    gc.freeze()


def _start(job: Job, place: Path) -> int:
    place.mkdir()
    (place / "train.py").write_text(job.source, encoding="utf-8")
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 3
    try:
        status = _child(job, place) if job.ranks == 1 else _group(job, place)
    except BaseException:
        (place / "error").write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(status)


def _group(job: Job, place: Path) -> int:
    """Run the ranks of a group, each in a process of its own; the status of the first, which reports."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    os.environ |= {"WORLD_SIZE": str(job.ranks), "LOCAL_WORLD_SIZE": str(job.ranks), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    pids = []
    for rank in range(job.ranks):
        pid = os.fork()
        if pid:
            pids.append(pid)
            continue
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        status = 3
        try:
            status = _child(job, place)
        finally:
            os._exit(status)
    return next(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)


def _child(job: Job, place: Path) -> int:
    from nnlint.cli import main

    os.chdir(place)
    signal.alarm(_LIMIT_S)
    quiet = os.open(place / "output", os.O_WRONLY | os.O_CREAT)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    command = ["run", "--output", "json:report.json", *job.options, "train.py"]
    try:
        return int(main(command, standalone_mode=False) or 0)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 1


def _next(running: dict[int, tuple[Job, Path, float]]) -> Result:
    """Wait for one of the processes."""
    while True:
        pid, ended = os.wait()
        if pid in running:
            break
    job, place, begun = running.pop(pid)
    status = os.waitstatus_to_exitcode(ended)
    report = place / "report.json"
    reports = json.loads(report.read_text())["results"] if report.exists() else []
    error = ""
    if not reports:
        with contextlib.suppress(OSError):
            error = (place / "output").read_text()[-2000:]
        with contextlib.suppress(OSError):
            error += (place / "error").read_text()
    return Result(job.name, status, reports, time.monotonic() - begun, error or ("" if reports else f"ended with {status}"))
