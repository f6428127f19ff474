"""What a check costs, beside the training step of the same model: time, peak memory, and the commands without torch.

Usage: python benchmarks/cost.py [--repeats 5] [--json] [--deep | --write]

Times are CPU times of one thread, checks and steps taken in turn in one run. With `--deep` only the deep profile is measured, and
its training steps are counted. `--write` measures both and writes docs/evidence/cost.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: one thread

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("resnet18", "mlp")
#: Begins the keys of a stage's cost in steps.
STAGE = "stage: "
PAGE = ROOT / "docs" / "evidence" / "cost.md"
MEBIBYTE = 1024  # ru_maxrss counts KiB on Linux


def seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def build(name: str) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT))
    from benchmarks import models

    made: dict[str, Any] = getattr(models, name)()
    return made


def step(setup: dict[str, Any]) -> None:
    setup["optimizer"].zero_grad()
    setup["loss"](setup["model"](setup["inputs"]), setup["targets"]).backward()
    setup["optimizer"].step()


def check(setup: dict[str, Any], *, deep: bool = False) -> Any:
    from nnlint.config import CheckSettings
    from nnlint.engine import check as run

    return run(setup, CheckSettings(deep=deep))


def cpu_seconds(action: Callable[[], object]) -> float:
    begun = time.process_time()
    action()
    return time.process_time() - begun


def deep_cost(name: str, repeats: int) -> dict[str, float]:
    """CPU time of a check with --deep in training steps of the same warm model, and the steps that its longer probes make."""
    setup = build(name)
    setup["model"].train()
    measured = check(setup, deep=True).measurements
    steps: list[float] = []
    checks: list[float] = []
    for _ in range(repeats):
        steps += [cpu_seconds(lambda: step(setup)) for _ in range(10)]
        checks.append(cpu_seconds(lambda: check(setup, deep=True)))
        step(setup)  # the caches are the training loop's again before the next steps are timed
        steps += [cpu_seconds(lambda: step(setup)) for _ in range(10)]
    one, whole = statistics.median(steps), statistics.median(checks)
    return {"step_s": one, "deep_s": whole, "deep_steps": whole / one, **steps_made(measured)}


def deep_costs(repeats: int) -> dict[str, dict[str, float]]:
    return {name: deep_cost(name, repeats) for name in MODELS}


def steps_made(measured: dict[str, Any]) -> dict[str, float]:
    """Training steps of each longer probe, from the report."""
    rates = measured["lr-range"]
    curves = [rates["losses"], *(trial["losses"] for trial in rates["trials"])]
    return {
        "overfit": measured["overfit"]["steps"],
        "lr-range": sum(len(curve) - 1 for curve in curves),
        "input-dependence": 2 * measured["input-dependence"]["steps"],
    }


def time_of_check(name: str, repeats: int) -> dict[str, float]:
    """Medians of interleaved training steps and checks of one warm model."""
    with patch("time.perf_counter", time.process_time):  # a report's timings are those of the clock, which others run on, too
        return _time_of_check(name, repeats)


def _time_of_check(name: str, repeats: int) -> dict[str, float]:
    setup = build(name)
    setup["model"].train()
    first = cpu_seconds(lambda: check(setup))
    for _ in range(3):
        step(setup)
    steps: list[float] = []
    checks: list[float] = []
    fresh: list[float] = []
    stages: list[dict[str, float]] = []
    for _ in range(repeats):
        steps += [cpu_seconds(lambda: step(setup)) for _ in range(5)]
        checks.append(cpu_seconds(lambda: stages.append(check(setup).timings)))
        built = build(name)
        fresh.append(cpu_seconds(lambda built=built: check(built)))
        step(setup)  # the caches are the training loop's again before the next steps are timed
    one, whole, new = (statistics.median(times) for times in (steps, checks, fresh))
    parts = {f"{STAGE}{stage}": share / one for stage, share in stage_medians(stages).items()}
    return {
        "step_s": one,
        "check_s": whole,
        "check_steps": whole / one,
        "fresh_steps": new / one,
        "first_check_s": first,
    } | parts


def stage_medians(stages: list[dict[str, float]]) -> dict[str, float]:
    """Seconds of each stage of a check, and what is left of the whole for the rules and the report."""
    names = [name for name in stages[0] if name not in {"total", "training_steps"}]
    medians = {name: statistics.median(timings[name] for timings in stages) for name in names}
    whole = statistics.median(timings["total"] for timings in stages)
    return {**medians, "rules and report": whole - sum(medians.values())}


def stage_table(found: dict[str, dict[str, float]]) -> str:
    from tabulate import tabulate

    stages = [key for key in found[MODELS[0]] if key.startswith(STAGE)]
    rows = [[stage.removeprefix(STAGE), *(f"{found[name][stage]:.2f}" for name in MODELS)] for stage in stages]
    return tabulate(rows, ["stage", *MODELS], tablefmt="github", disable_numparse=True)


def peak_memory(name: str, what: str) -> float:
    """Peak resident MiB of a process that imports, builds and takes one training step, or checks instead."""
    command = [sys.executable, __file__, "--peak", what, "--model", name]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return float(shown.stdout.split()[-1])


def print_own_peak(name: str, what: str) -> None:
    setup = build(name)
    (step if what == "step" else check)(setup)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE)


def time_of_command(repeats: int, *arguments: str) -> float:
    def run() -> None:
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True, cwd=ROOT)

    run()  # byte code and page cache
    return statistics.median(seconds(run) for _ in range(repeats))


def measure(repeats: int) -> dict[str, dict[str, float]]:
    # Memory first: a process begins with the peak of the one that started it, and this one is still small.
    found = {name: {f"{what}_peak_mib": peak_memory(name, what) for what in ("step", "check")} for name in MODELS}
    for name in MODELS:
        found[name] |= time_of_check(name, repeats)
    commands = {
        "python -c pass": ["-c", "pass"],
        "python -c 'import torch'": ["-c", "import torch"],
        "nnlint --help": ["-m", "nnlint", "--help"],
        "nnlint rules": ["-m", "nnlint", "rules"],
    }
    found["commands"] = {shown: time_of_command(repeats, *arguments) for shown, arguments in commands.items()}
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    from tabulate import tabulate

    rows = []
    for name in MODELS:
        row = found[name]
        rows.append(
            [
                name,
                f"{row['step_s'] * 1e3:.2f} ms",
                f"{row['check_s'] * 1e3:.1f} ms",
                f"{row['check_steps']:.1f}",
                f"{row['fresh_steps']:.1f}",
                f"{row['first_check_s'] * 1e3:.0f} ms",
                f"{row['step_peak_mib']:.0f} MiB",
                f"{row['check_peak_mib']:.0f} MiB",
            ]
        )
    heads = ["model", "step", "check", "in steps", "of a new model", "first check", "peak of a step", "peak of a check"]
    times = [[shown, f"{value:.3f} s"] for shown, value in found["commands"].items()]
    commands = tabulate(times, ["command", "wall time"], tablefmt="github")
    return tabulate(rows, heads, tablefmt="github") + "\n\n" + commands


def deep_table(found: dict[str, dict[str, float]]) -> str:
    from tabulate import tabulate

    heads = ["overfit", "lr-range", "input-dependence"]
    rows = [
        [
            name,
            f"{row['step_s'] * 1e3:.2f} ms",
            f"{row['deep_s']:.2f} s",
            f"{row['deep_steps']:.0f}",
            *(row[head] for head in heads),
        ]
        for name, row in found.items()
    ]
    times = ["model", "step (CPU time)", "check --deep", "in steps"]
    return tabulate(rows, [*times, *(f"steps of {head}" for head in heads)], tablefmt="github")


def kept_section() -> str:
    """The last section of the page, which benchmarks/histogram_cost.py fills."""
    text = PAGE.read_text(encoding="utf-8")
    return text[text.index("## The histograms") :]


def page(found: dict[str, dict[str, float]], deep: dict[str, dict[str, float]]) -> str:
    """docs/evidence/cost.md."""
    return f"""<!-- Written by benchmarks/cost.py --write. -->

# Cost

What a check costs beside the training step of the same model: `resnet18` has 11.7 million parameters and a batch of 8 x 3 x 64 x 64,
`mlp` 5,800 parameters and a batch of 64 (`benchmarks/models.py`). CPU time of one thread, medians, checks and warm training steps
in turn in one run. The checked model has been trained by some of these steps, so that its gradients and the state of its optimizer
are kept and compared too; `of a new model` has neither. `first check` is the first in a process, imports of rules and probes
included. Peaks are those of a process that imports torch, builds the model and takes one training step, or checks it instead.

## The default profile

{table(found)}

Where it goes, in training steps:

{stage_table(found)}

## `--deep`

{deep_table(deep)}

{kept_section()}"""


def main() -> int:
    parser = argparse.ArgumentParser(description="What a check costs.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--deep", action="store_true", help="measure --deep alone")
    parser.add_argument("--write", action="store_true", help="measure both profiles and write docs/evidence/cost.md")
    parser.add_argument("--peak", choices=["step", "check"], help=argparse.SUPPRESS)
    parser.add_argument("--model", default="resnet18", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print_own_peak(arguments.model, arguments.peak)
        return 0
    if arguments.deep:
        deep = deep_costs(arguments.repeats)
        print(json.dumps(deep, indent=2) if arguments.json else deep_table(deep))
        return 0
    found = measure(arguments.repeats)
    if arguments.write:
        PAGE.write_text(page(found, deep_costs(arguments.repeats)), encoding="utf-8")
    print(json.dumps(found, indent=2) if arguments.json else table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
