"""What `nnlint check` costs from the shell, beside a process that imports torch, builds the same model and takes one training step.

Usage: python benchmarks/whole_process.py [--repeats 5] [--write]

CPU times of whole processes and of all that they start, in turn in one run, one thread. `--write` puts the table into
docs/evidence/cost.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "evidence" / "cost.md"
MODELS = ("resnet18", "mlp")
START, END = "<!-- whole process: start -->", "<!-- whole process: end -->"

#: Import, build and one step: what a person runs to see whether a model trains at all.
STEP = """
import sys; sys.path.insert(0, {root!r})
from benchmarks import models
setup = models.{model}()
setup["optimizer"].zero_grad()
setup["loss"](setup["model"](setup["inputs"]), setup["targets"]).backward()
setup["optimizer"].step()
"""


def cpu_seconds(*arguments: str) -> float:
    """CPU time of a process and of all its children that were waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 2: the check was not made
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(model: str, repeats: int) -> dict[str, float]:
    """Medians, each kind in turn."""
    target = f"benchmarks/models.py:{model}"
    commands = {
        "import torch": ("-c", "import torch"),
        "import, build and step": ("-c", STEP.format(root=str(ROOT), model=model)),
        "nnlint check": ("-m", "nnlint", "check", "--no-cache", target),
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(repeats + 1):
        for name, arguments in commands.items():
            took = cpu_seconds(*arguments)
            if number:  # the first of each writes byte code and fills the page cache
                found[name].append(took)
    return {name: statistics.median(times) for name, times in found.items()}


def table(repeats: int) -> str:
    """The table of the page."""
    from tabulate import tabulate

    rows = []
    for model in MODELS:
        took = measure(model, repeats)
        once, check = took["import, build and step"], took["nnlint check"]
        rows.append([model, *(f"{value:.2f} s" for value in took.values()), f"{check / once:.2f}", f"{check - once:.2f} s"])
    heads = ["model", "import torch", "import, build and step", "nnlint check", "ratio", "more"]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="What a check costs from the shell.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into docs/evidence/cost.md")
    arguments = parser.parse_args()
    made = table(arguments.repeats)
    print(made)
    if arguments.write:
        text = PAGE.read_text(encoding="utf-8")
        before, after = text.split(START)[0], text.split(END)[1]
        PAGE.write_text(f"{before}{START}\n{made}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
