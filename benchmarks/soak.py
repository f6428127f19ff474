"""Check generated setups for as long as you like: no exception, no crash, no changed bit, the same report twice.

    python benchmarks/soak.py --count 10000 --out soak.jsonl          # or --seconds 3600
    python benchmarks/soak.py --seed 1234                             # one setup again, with the trace

Every setup runs in a process of its own, so that a crash is a row as well.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the workers share the cores
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn

import nnlint
from benchmarks import soak_layers, soak_setups

#: Findings that say that something could not be run; a setup that trains must have none.
NOT_RUN = ("RUN001", "RUN002", "RUN003", "RUN004", "RUN006", "RUN008", "RUN009")
#: Seconds of the processor that one setup may take, and how many times as long by the clock, on a machine that others use.
LIMIT, _SHARED = 180, 20


def settings_of(seed: int) -> dict[str, Any]:
    """How the setup is checked: mostly the default profile, a tenth deep, some static or with their own seed."""
    r = random.Random(seed + 1)
    profile = r.choices(["default", "deep", "static", "seeded", "probe"], [75, 10, 5, 5, 5])[0]
    return {
        "default": {},
        "deep": {"deep": True, "budget": 20.0},
        "static": {"static": True},
        "seeded": {"seed": 7},
        "probe": {"probes": (r.choice(["input-dependence", "gradcheck", "precision"]),)},
    }[profile]


def form_of(setup: dict[str, Any], seed: int) -> Any:
    """The setup as one of the forms that the API takes."""
    r = random.Random(seed + 2)
    form = r.choices(["dict", "TrainingSetup", "function"], [8, 2, 2])[0]
    if form == "TrainingSetup":
        return nnlint.TrainingSetup(**setup)
    return (lambda: setup) if form == "function" else setup


def fingerprint(setup: dict[str, Any]) -> dict[str, Any]:
    """All that a check must leave as it was, in comparable form: found by a walk of its own, not by the guard's."""
    found: dict[str, Any] = {}
    seen: set[int] = set()

    def note(path: str, value: Any, depth: int) -> None:
        if isinstance(value, torch.Tensor):
            found[path] = tensor_state(value)
        elif isinstance(value, (int, float, str, bool, type(None), torch.dtype, torch.device)):
            found[path] = repr(value)
        elif id(value) in seen or depth > 12:
            found[path] = id(value)
        elif isinstance(value, dict):
            seen.add(id(value))
            names = [key if isinstance(key, (str, int)) else index for index, key in enumerate(value)]
            found[path] = (id(value), names)
            for name, item in zip(names, list(value.values()), strict=True):
                note(f"{path}[{name!r}]", item, depth + 1)
        elif isinstance(value, (list, tuple, set)):
            seen.add(id(value))
            found[path] = len(value)
            for index, item in enumerate(value):
                note(f"{path}[{index}]", item, depth + 1)
        elif isinstance(value, (nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)):
            seen.add(id(value))
            found[path] = (id(value), id(type(value)))
            note(path + ".", vars(value), depth + 1)
            if isinstance(value, torch.jit.ScriptModule):
                for name, child in value.named_modules():
                    found[f"{path}.{name}.training"] = child.training
                for name, tensor in value.state_dict().items():  # a new tensor each time
                    found[f"{path}.state.{name}"] = tensor_state(tensor)[1:]

    with torch.no_grad():
        note("setup", setup, 0)
    found["random"] = (random.getstate(), torch.get_rng_state().tolist())
    found["process"] = (os.getcwd(), dict(os.environ), torch.get_default_dtype(), torch.is_grad_enabled())
    return found


def tensor_state(tensor: torch.Tensor) -> Any:
    """Identity, flags, version and bytes."""
    flags = (
        id(tensor),
        tensor.requires_grad,
        tensor._version,
        id(tensor.grad) if tensor.is_leaf else 0,
        str(tensor.dtype),
    )
    if isinstance(tensor, nn.UninitializedParameter):
        return flags
    if isinstance(tensor, soak_layers.Wrapper):
        return (*flags, tensor_state(tensor.inner))
    plain = tensor.detach()
    if plain.is_nested:
        return (*flags, [part.tolist() for part in plain.unbind()])
    if plain.layout is not torch.strided:
        return (*flags, plain._nnz(), str(plain.to_dense().tolist()))
    whole = plain.resolve_conj().contiguous().as_subclass(torch.Tensor)
    return (
        *flags,
        tuple(plain.shape),
        plain.stride(),
        bytes(whole.untyped_storage()) if whole.device.type == "cpu" else b"",
    )


def judged(report: Any) -> list[Any]:
    """What must be the same in two reports, as text: a NaN in the evidence is not equal to itself."""
    (result,) = report.results
    return [
        result.status,
        [repr(f.model_dump(exclude={"trace"})) for f in result.findings],
        [repr(s.model_dump()) for s in result.skipped],
    ]


def trains(seed: int) -> bool:
    """Whether the setup's own training step runs."""
    try:
        soak_setups.step(soak_setups.build(seed))
    except Exception:
        return False
    return True


def examine(seed: int) -> dict[str, Any]:
    """Check one setup twice; `problems` is empty where all is well."""
    problems: list[str] = []
    row: dict[str, Any] = {"seed": seed, "problems": problems}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            possible = trains(seed)
            setup = soak_setups.build(seed)
        except Exception as error:
            return {**row, "unbuilt": f"{type(error).__name__}: {error}"}
        settings = settings_of(seed)
        before = fingerprint(setup)
        reports = []
        for _ in range(2):
            try:
                reports.append(nnlint.check(form_of(setup, seed), **settings))
            except Exception:
                problems.append("exception: " + traceback.format_exc())
                return row
        after = fingerprint(setup)
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    if changed:
        problems.append(f"changed: {', '.join(changed[:6])}")
    if "budget" not in settings and judged(reports[0]) != judged(reports[1]):
        problems.append("differs: " + difference(*map(judged, reports)))
    for finding in reports[0].findings:
        cut = finding.code == "RUN006" and "budget" in settings
        fails = possible and "static" not in settings and finding.code in NOT_RUN and not cut
        if finding.code == "RUN007" or fails:
            problems.append(f"{finding.code}: {finding.message} {(finding.trace or '')[-1500:]}")
    row["findings"] = [f"{finding.code} {finding.level.value}" for finding in reports[0].findings]
    return row


def difference(one: list[Any], other: list[Any]) -> str:
    """The first thing in which two reports differ."""
    for first, second in zip(one[1] + one[2], other[1] + other[2], strict=False):
        if first != second:
            return f"{first} / {second}"
    return f"{one[0]} {len(one[1])} {len(one[2])} / {other[0]} {len(other[1])} {len(other[2])}"


def _child(seed: int, sender: Any) -> None:
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    signal.alarm(LIMIT * _SHARED)
    with open(os.devnull, "w") as nothing:
        sys.stdout = sys.stderr = nothing
        sender.send(examine(seed))


def guarded(seed: int) -> dict[str, Any]:
    """`examine` in a process of its own."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_child, args=(seed, sender))
    process.start()
    sender.close()
    try:
        row: dict[str, Any] = receiver.recv()
    except EOFError:
        process.join()
        row = {"seed": seed, "problems": [f"the process ended with {process.exitcode}"]}
    process.join()
    return row


def kind_of(problem: str) -> str:
    """What problems of one kind have in common: where in nnlint it was raised, and the last line."""
    lines = problem.strip().splitlines()
    frames = [line.strip() for line in lines if "/nnlint" in line and "File" in line]
    if len(lines) == 1 or not frames:
        return lines[0][:120]
    place = frames[-1].rpartition("/wt/guard/")[2].replace('"', "")
    return f"{lines[0][:40]} | {place} | {lines[-1][:120]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="examine this one alone")
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.seed is not None:
        row = examine(options.seed)
        print(json.dumps({**row, "problems": len(row["problems"])}), *row["problems"], sep="\n")
        return bool(row["problems"])
    examine(0)  # imports all that the children share
    began, kinds, run = time.monotonic(), Counter[str](), 0
    for seed in range(options.start, options.start + options.count):
        if time.monotonic() - began > options.seconds:
            break
        row, run = guarded(seed), run + 1
        kinds.update(["built"] if "unbuilt" not in row else ["unbuilt"])
        kinds.update(kind_of(problem) for problem in row["problems"])
        if options.out is not None:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if row["problems"]:
            print(seed, *map(kind_of, row["problems"]), sep="\n  ", flush=True)
    print(
        f"{run} setups in {time.monotonic() - began:.0f} s; {sum(kinds.values()) - run} problems",
        *kinds.most_common(60),
        sep="\n",
    )
    return sum(kinds.values()) > run


if __name__ == "__main__":
    raise SystemExit(main())
