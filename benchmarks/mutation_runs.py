"""How benchmarks/mutation.py runs: which mutants are made, and the processes that make and check them.

A process is forked for some tens of mutants. One that does not answer in time is killed: its mutant is a row of status
"timeout", and a new process goes on with the rest.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.mutation_subjects import Subject

Row = dict[str, Any]

#: Mutants that one process checks before another takes its place: what they leave behind does not add up.
TASKS = 40
NOWHERE = "not applicable"


# -------------------------------------------------------------------- one mutant


def row_of(subject: Subject, operator: Any) -> Row:
    """What a check says of the mutant, or of the subject itself where there is no operator."""
    name, codes = (operator.name, operator.codes) if operator is not None else ("", ())
    row: Row = {"subject": subject.name, "operator": name, "codes": list(codes)}
    if operator is not None and operator.level:
        row["level"] = operator.level
    try:
        return row | _checked(subject, operator, codes)
    except Exception as error:
        return row | {"status": "crashed", "error": _said(error), "trace": traceback.format_exc().splitlines()[-6:]}


def _checked(subject: Subject, operator: Any, codes: Sequence[str]) -> Row:
    from nnlint.config import CheckSettings
    from nnlint.engine import check

    begun, used = time.perf_counter(), time.process_time()
    made = _made(subject, operator)
    if made is None:
        return {"status": NOWHERE}
    setup, places = made
    # A fault is the user's, also where it sits in a library's model: nothing is judged leniently there.
    settings = CheckSettings() if operator is None else CheckSettings(probes=operator.probes, libraries=())
    report = check(setup, settings)
    if any(item.code == "RUN002" and "AttributeError" in item.message for item in report.findings):
        return {"status": NOWHERE}  # its parent reads the layer that was replaced
    found = [
        {"code": item.code, "level": item.level.value, "module": item.module, "modules": list(item.modules), "message": item.message}
        for item in report.findings
    ]
    skipped = {item.code: item.reason for item in report.skipped}
    return {
        "status": report.status,
        "places": list(places) if places is not None else None,
        "findings": found,
        "skipped": {code: skipped[code] for code in codes if code in skipped},
        "seconds": round(time.perf_counter() - begun, 2),
        "cpu_s": round(time.process_time() - used, 2),
    }


def _made(subject: Subject, operator: Any) -> tuple[Any, tuple[str, ...] | None] | None:
    """The setup with the fault, and its places; None where there is no place for it."""
    import torch

    from benchmarks.mutation_tools import NotApplicable
    from nnlint.setup.target.accepted_forms import to_setup
    from nnlint.setup.target.construction_sites import ConstructionSites

    torch.manual_seed(0)
    with ConstructionSites() as sites:  # as `nnlint check` does while it calls a build function
        fields = subject.build()
        if operator is None:
            return to_setup(fields, sites=sites), None
        try:
            made = operator.apply(fields) if isinstance(fields, dict) else None  # a tuple has no field to change
        except NotApplicable:
            return None
    return (to_setup(made.fields, sites=sites), made.places) if made is not None else None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


# -------------------------------------------------------------------- which mutants


def draw(subject: str, operator: str) -> float:
    """A number from 0 to 1 that looks random and is the same every time."""
    return zlib.crc32(f"{subject} {operator}".encode()) / 2**32


@dataclass
class Lane:
    """The subjects that an operator is tried on, in an order drawn once for all, until enough offer it a place.

    Attributes:
        operator: None for the unmutated twins.
        untried: the subjects that are left, the next one last.
        wanted: how many more mutants are asked for.
    """

    operator: Any
    untried: list[Subject]
    wanted: int

    @property
    def name(self) -> str:
        """The operator's name; empty for the unmutated twins."""
        return "" if self.operator is None else self.operator.name


def lane(operator: Any, subjects: Iterable[Subject], wanted: int | None, done: Iterable[Row] = ()) -> Lane:
    """An operator's lane over these subjects, less what earlier rows have done; all subjects where `wanted` is None."""
    name, among = "" if operator is None else operator.name, list(subjects)
    names = {subject.name for subject in among}
    rows = {row["subject"]: row["status"] for row in done if row["operator"] == name and row["subject"] in names}
    left = [subject for subject in among if subject.name not in rows]
    left.sort(key=lambda subject: draw(subject.name, name), reverse=True)
    made = sum(status != NOWHERE for status in rows.values())
    return Lane(operator, left, len(left) if wanted is None else max(0, wanted - made))


def ordered(lanes: Sequence[Lane], seed: int = 0) -> list[Lane]:
    """Each lane once for each mutant it wants, shuffled: what a run that is stopped has done is a fair sample."""
    turns = [one for one in lanes for _ in range(one.wanted)]
    random.Random(seed).shuffle(turns)
    return turns


# -------------------------------------------------------------------- the processes


@dataclass
class Worker:
    """A process that checks one mutant after another."""

    process: BaseProcess
    line: Connection
    turn: Lane | None = None
    subject: str = ""
    given: int = 0
    begun: float = field(default_factory=time.monotonic)


def _work(
    line: Connection, inherited: Sequence[Connection], subjects: dict[str, Subject], operators: dict[str, Any]
) -> None:
    import torch

    for other in inherited:
        other.close()  # the ends of other workers: an end of file has to reach them
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - lives as long as the process
    while True:
        try:
            name, operator = line.recv()
        except EOFError:
            return
        line.send(row_of(subjects[name], operators.get(operator)))


class Pool:
    """Rows as they come, from several processes; all are ended when the iteration ends."""

    def __init__(self, lanes: Sequence[Lane], *, workers: int, limit_s: float, seconds: float | None = None) -> None:
        self._turns = list(reversed(ordered(lanes)))
        self._subjects = {subject.name: subject for one in lanes for subject in one.untried}
        self._operators = {one.name: one.operator for one in lanes}
        self._limit_s, self._workers = limit_s, workers
        self._end = None if seconds is None else time.monotonic() + seconds
        self._context = multiprocessing.get_context("fork")
        self._running: list[Worker] = []

    def rows(self) -> Iterator[Row]:
        """The row of each mutant, and of each subject that offered no place; ends where the time is up."""
        try:
            self._start()
            while any(worker.turn is not None for worker in self._running):
                if self._end is not None and time.monotonic() >= self._end:
                    return
                wait([worker.line for worker in self._running], timeout=0.5)
                for worker in list(self._running):
                    yield from self._answered(worker)
        finally:
            for worker in self._running:
                worker.process.kill()
                worker.process.join()

    def _start(self) -> None:
        for _ in range(min(self._workers, len(self._turns))):
            self._give(self._fork())

    def _fork(self) -> Worker:
        mine, theirs = self._context.Pipe()
        inherited = [mine, *(worker.line for worker in self._running)]
        process = self._context.Process(
            target=_work, args=(theirs, inherited, self._subjects, self._operators), daemon=True
        )
        process.start()
        theirs.close()
        worker = Worker(process, mine)
        self._running.append(worker)
        return worker

    def _give(self, worker: Worker) -> None:
        """Hand a worker the next subject of the next lane that has one left."""
        worker.turn = None
        while self._turns:
            turn = self._turns.pop()
            if turn.untried:
                subject = turn.untried.pop().name
                worker.turn, worker.subject, worker.begun, worker.given = (
                    turn,
                    subject,
                    time.monotonic(),
                    worker.given + 1,
                )
                with contextlib.suppress(OSError):  # a process that has died is seen when its answer is asked for
                    worker.line.send((subject, turn.name))
                return

    def _answered(self, worker: Worker) -> Iterator[Row]:
        """The worker's row where it has one; it then gets more to do, or another takes its place."""
        turn = worker.turn
        if turn is None:
            return
        row = self._row(worker, turn)
        if row is None:
            return
        if row["status"] == NOWHERE:
            self._turns.append(turn)  # its next subject takes the place
        yield row
        ended = row["status"] in ("timeout", "killed")
        if ended or worker.given >= TASKS:
            self._running.remove(worker)
            worker.line.close()
            worker.process.join()
            worker = self._fork()
        self._give(worker)

    def _row(self, worker: Worker, turn: Lane) -> Row | None:
        """The answer, None while there is time for it."""
        codes = list(turn.operator.codes) if turn.operator is not None else []
        row: Row = {"subject": worker.subject, "operator": turn.name, "codes": codes}
        if worker.line.poll():
            try:
                answer: Row = worker.line.recv()
            except EOFError:
                worker.process.join()
                return row | {"status": "killed", "error": f"the process ended with {worker.process.exitcode}"}
            return answer
        if time.monotonic() - worker.begun < self._limit_s:
            return None
        worker.process.kill()
        return row | {"status": "timeout", "error": f"not done within {self._limit_s:.0f} s"}


def rows_of(lanes: Sequence[Lane], **how: Any) -> Iterator[Row]:
    """The rows of these lanes; see `Pool`."""
    yield from Pool(lanes, **how).rows()
