"""Measure of how many ops axis flow knows the axes, on the zoo of healthy models, and what the rules on it say there.

Usage: python benchmarks/axes_coverage.py [--zoo FOLDER] [--lib timm,torchvision,hf] [--every 4] [--offset 0] [--rules ARC029,...]

Records each model once, in training mode with the loss the sweep gives it, and prints a line for each: ops with dimensions, ops whose axes
are known, what the flow cost, the ops it does not know. With `--rules` the default check runs those rules too. Prints the shares by library last.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "rules")]


def coverage(name: str, build: Callable[[], Any], rules: tuple[str, ...]) -> dict[str, Any]:
    """The row of one model."""
    import torch

    import nnlint
    from benchmarks.zoo_setup import training_setup
    from nnlint.capture.axes.flow import AxisFlow
    from nnlint.probes.training_pass.run import run_training_pass
    from nnlint.setup.target.resolve import coerce

    torch.set_num_threads(1)
    fields = training_setup(name, build).fields
    setup = coerce(dict(fields))
    made = run_training_pass(setup, seed=0)
    assert made.graph is not None
    begun = time.perf_counter()
    flow = AxisFlow(made.graph)
    seconds = time.perf_counter() - begun
    ops, known = flow.shares()
    unknown = Counter(_cause(flow, op) for op, axes in flow.values() if op.shape and not axes.known)
    unknown.pop("", None)
    found = list(nnlint.check(fields, select=rules).results[0].findings) if rules else []
    return {
        "ops": ops,
        "known": known,
        "ms": 1000 * seconds,
        "unknown": unknown.most_common(4),
        "findings": [f"{item.code} {item.level.value} {item.module}: {item.message}" for item in found],
    }


def _cause(flow: Any, op: Any) -> str:
    """The op's name where its inputs are all known: what is unknown begins with it."""
    return op.name if all(flow.of(above).known for above in op.inputs) else ""


def main() -> None:
    """Measure the models that were asked for."""
    parser = argparse.ArgumentParser(description="Share of ops whose axes are known.")
    parser.add_argument("--zoo", type=Path, help="folder of another zoo.py; default: benchmarks/zoo")
    parser.add_argument("--lib", type=lambda text: tuple(text.split(",")), default=("timm", "torchvision", "hf"))
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--timm-per-family", type=int, default=1)
    parser.add_argument("--rules", type=lambda text: tuple(text.split(",")), default=())
    parser.add_argument("--only", default="", help="part of a name")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--timeout", type=int, default=90)
    arguments = parser.parse_args()
    from benchmarks.sweep import zoo_models

    sums: Counter[str] = Counter()
    models = zoo_models(arguments)[arguments.offset :]
    for name, build in models:
        signal.alarm(arguments.timeout)
        try:
            row = coverage(name, build, arguments.rules)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            print(f"{name:45} failed: {type(error).__name__} {str(error)[:100]}", flush=True)
            if os.environ.get("TRACE"):
                traceback.print_exc()
            continue
        finally:
            signal.alarm(0)
        library = name.split("/")[0]
        sums.update({f"{library} ops": row["ops"], f"{library} known": row["known"], f"{library} models": 1})
        print(f"{name:45} {row['known']:5}/{row['ops']:5} {row['ms']:7.1f} ms  {row['unknown']}", flush=True)
        for line in row["findings"]:
            print("      ", line, flush=True)
    for library in arguments.lib:
        if sums[f"{library} ops"]:
            share = sums[f"{library} known"] / sums[f"{library} ops"]
            print(f"{library}: {share:.1%} of {sums[f'{library} ops']} ops in {sums[f'{library} models']} models")


def _timed_out(*_: Any) -> None:
    raise TimeoutError("time limit")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, _timed_out)
    main()
