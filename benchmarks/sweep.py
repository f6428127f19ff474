"""Check healthy public architectures and publish what nnlint says of them: a warning there is suspected to be false.

Usage: python benchmarks/sweep.py [--lib nn,timm] [--every 4] [--limit 20] [--static | --deep] [--workers 2] [--seconds 500]

Each model is checked in a process of its own, with a time limit. Writes one JSON line for each model (`--out`) and the
page docs/evidence/false-alarms.md (`--page`) with two figures: what a user of the libraries sees, and what you would see if you
had written the models yourself. The libraries take turns, their models shuffled once for all, so that a sweep that was stopped
(`--seconds`) is a fair sample; `--resume` keeps the lines that are there; `--rows` writes the page of earlier lines alone;
`--build-only` runs no check.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import pkgutil
import random
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: two workers share two cores

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("nn", "torchvision", "timm", "hf", "pyg")
sys.path[:0] = [str(ROOT), str(ROOT / "rules")]


@dataclass(frozen=True)
class Plan:
    """What each worker does with its model."""

    build_only: bool
    settings: dict[str, Any]
    commit: str = ""


@dataclass
class Job:
    """A model that is being checked."""

    name: str
    process: BaseProcess
    answer: Connection
    begun: float


def check_model(name: str, build: Callable[[], Any], plan: Plan) -> dict[str, Any]:
    """The row of one model."""
    import torch

    from benchmarks.zoo_setup import training_setup

    torch.set_num_threads(1)
    begun = time.perf_counter()
    setup = training_setup(name, build)
    row: dict[str, Any] = {"model": name, "loss": setup.loss_kind, "build_s": round(time.perf_counter() - begun, 3)}
    row |= {"commit": plan.commit} if plan.commit else {}
    if plan.build_only:
        return row | {"status": "built"}
    from benchmarks.as_written import AsWritten
    from nnlint import registry
    from nnlint.config import CheckSettings
    from nnlint.engine import check

    begun = time.perf_counter()
    as_written = AsWritten(registry.load())
    report = check(setup.fields, CheckSettings(**plan.settings), registry=as_written.registry)
    row |= {"status": report.status, "check_s": round(time.perf_counter() - begun, 3)}
    dumped = report.model_dump(mode="json")
    keep = ("code", "level", "module", "message", "confidence")
    row["findings"] = [{key: finding[key] for key in keep} for finding in dumped["findings"]]
    row["as_written"] = as_written.findings
    row["skipped"] = {skipped["code"]: skipped["reason"] for skipped in dumped["skipped"]}
    return row


def _work(name: str, build: Callable[[], Any], plan: Plan, answer: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The library's own noise (and the model's prints) would tear the progress lines apart.
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - lives as long as the process
    try:
        row = check_model(name, build, plan)
    except BaseException as error:
        trace = traceback.format_exc().splitlines()[-12:]
        row = {"model": name, "status": "crashed", "error": f"{type(error).__name__}: {error}", "trace": trace}
    answer.send(row)
    answer.close()


def preload() -> dict[str, str]:
    """Import all of nnlint once, before the workers are forked: the same code for all. Returns the rules' names by code."""
    for package in (importlib.import_module("nnlint"), importlib.import_module("nnlint_rules")):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    from nnlint import registry

    return {rule.code: rule.name for rule in registry.load().rules}


def run_all(
    models: list[tuple[str, Callable[[], Any]]], plan: Plan, *, workers: int, limit_s: float, seconds: float | None = None
) -> Iterator[dict[str, Any]]:
    """Rows as they come, from `workers` processes at a time; a process is forked, so the libraries load once.

    After `seconds` the processes are killed and the rest is left.
    """
    context = multiprocessing.get_context("fork")
    waiting, running = list(reversed(models)), list[Job]()
    begun = time.monotonic()
    while waiting or running:
        if seconds is not None and time.monotonic() - begun >= seconds:
            for job in running:
                job.process.kill()
                job.process.join()
            return
        while waiting and len(running) < workers:
            name, build = waiting.pop()
            mine, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(name, build, plan, theirs), daemon=True)
            process.start()
            theirs.close()
            running.append(Job(name, process, mine, time.monotonic()))
        wait([job.answer for job in running], timeout=1.0)
        for job in list(running):
            row = _row_of(job, limit_s)
            if row is not None:
                running.remove(job)
                yield row


def _row_of(job: Job, limit_s: float) -> dict[str, Any] | None:
    """The finished job's row, or None while it runs within its time."""
    row: dict[str, Any]
    if job.answer.poll():
        try:
            row = job.answer.recv()
        except EOFError:
            job.process.join()
            row = {"model": job.name, "status": "crashed", "error": f"process ended with {job.process.exitcode}"}
        job.process.join()
        return row
    if time.monotonic() - job.begun < limit_s:
        return None
    job.process.kill()
    job.process.join()
    return {"model": job.name, "status": "timeout", "error": f"not done within {limit_s:.0f} s"}


def zoo_models(arguments: argparse.Namespace) -> list[tuple[str, Callable[[], Any]]]:
    """Names and build functions of the models asked for."""
    from benchmarks.zoo.torchvision_ops import complete_torchvision

    complete_torchvision()  # timm, transformers and lightning import torchvision where it is installed, and fail with it
    zoo = zoo_module(arguments.zoo)
    if "timm" in arguments.lib:
        import timm  # noqa: F401 - loaded before the workers are forked
    if "hf" in arguments.lib:
        import transformers.generation
        import transformers.modeling_utils  # noqa: F401 - the library loads lazily, and these take seconds
    models = in_turns(list(zoo.zoo(arguments.lib, arguments.timm_per_family))[:: arguments.every])
    if arguments.only:
        wanted = arguments.only.split(",")
        models = [(name, build) for name, build in models if any(text in name for text in wanted)]
    return models[: arguments.limit]


def zoo_module(folder: Path | str | None) -> ModuleType:
    """The module whose `zoo` gives the models: `zoo.py` of another folder, or benchmarks/zoo."""
    if folder is None:
        return importlib.import_module("benchmarks.zoo")
    sys.path.insert(0, str(Path(folder).resolve()))
    return importlib.import_module("zoo")


def in_turns(models: list[tuple[str, Callable[[], Any]]]) -> list[tuple[str, Callable[[], Any]]]:
    """The models shuffled by a fixed seed, in an order in which each library has its share of any beginning."""
    models = random.Random(0).sample(models, len(models))
    places: list[tuple[float, int]] = []
    sizes = Counter(_library(name) for name, _ in models)
    seen: Counter[str] = Counter()
    for index, (name, _) in enumerate(models):
        places.append(((seen[_library(name)] + 0.5) / sizes[_library(name)], index))
        seen[_library(name)] += 1
    return [models[index] for _, index in sorted(places)]


def _library(name: str) -> str:
    return name.partition("/")[0]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check the zoo of healthy models.")
    parser.add_argument("--zoo", type=Path, metavar="FOLDER", default=os.environ.get("NNLINT_ZOO"), help="folder of another zoo.py; default: NNLINT_ZOO, else benchmarks/zoo")
    parser.add_argument("--lib", type=lambda text: tuple(text.split(",")), default=LIBRARIES)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th model")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N models")
    parser.add_argument("--only", metavar="TEXT", help="models whose name holds TEXT; several with commas")
    parser.add_argument("--timm-per-family", type=int, default=1, metavar="N")
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="for the probes of one model")
    parser.add_argument("--build-only", action="store_true", help="build and run each model forward; no check")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds with what is done")
    parser.add_argument("--time-limit", type=float, default=300.0, metavar="SECONDS", help="for one model")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "sweep.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "evidence" / "false-alarms.md")
    parser.add_argument("--no-page", action="store_true", help="write no page (a part of the zoo is no result)")
    parser.add_argument("--rows", type=Path, nargs="*", metavar="FILE", help="write the page of these rows and check nothing")
    parser.add_argument("--resume", action="store_true", help="keep what --out holds and check the rest")
    return parser.parse_args()


def commit() -> str:
    """The commit that is checked out; empty outside of a repository."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of an earlier run; a line that was cut off when it was killed counts as not written."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def main() -> int:
    # A killed sweep must not leave its workers behind: an ordinary exit ends them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = _arguments()
    settings = {"static": arguments.static, "deep": arguments.deep, "budget": arguments.budget}
    every = zoo_models(argparse.Namespace(**{**vars(arguments), "limit": None}))
    names = {} if arguments.build_only else preload()
    if arguments.rows is None:
        rows = _checked(arguments, every, Plan(arguments.build_only, settings, commit()))
    else:
        rows = list({row["model"]: row for file in arguments.rows for row in read(file)}.values())
    if not (arguments.build_only or arguments.no_page):
        from benchmarks.sweep_page import page

        known = {row["model"] for row in rows}
        left = sum(name not in known for name, _ in every)
        arguments.page.write_text(page(rows, names, settings, left=left), encoding="utf-8")
        print(f"wrote {arguments.page}")
    return 0


def _checked(
    arguments: argparse.Namespace, every: list[tuple[str, Callable[[], Any]]], plan: Plan
) -> list[dict[str, Any]]:
    """The rows of this sweep, written as they come, and those that were there."""
    rows = read(arguments.out) if arguments.resume else []
    done = {row["model"] for row in rows}
    models = [(name, build) for name, build in every if name not in done][: arguments.limit]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
        how = {"workers": arguments.workers, "limit_s": arguments.time_limit, "seconds": arguments.seconds}
        for count, row in enumerate(run_all(models, plan, **how), 1):
            rows.append(row)
            out.write(json.dumps(row) + "\n")
            out.flush()
            loud = [found["code"] for found in row.get("findings", []) if found["level"] != "info"]
            took = row.get("check_s", row.get("build_s", 0.0))
            print(f"{count}/{len(models)} {row['model']} {row['status']} {took:.1f} s {' '.join(loud)}", flush=True)
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
