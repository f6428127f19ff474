"""The counts of the loop rules on healthy scripts and on scripts with the fault: what lies between them is the limit.

Usage: loops.py [--per-operator 4]   Figures: docs/evidence/calibration.md#loops.

The scripts are those of benchmarks/scripts, the faults those of benchmarks/loop_operators*.py. Each script is watched in a process of its
own; only its log is read, no rule is run. Prints the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules")]

from benchmarks.loop_operators import OPERATORS  # noqa: E402
from benchmarks.loop_runs import observed  # noqa: E402
from benchmarks.loops import mutants, scripts  # noqa: E402

Measure = Callable[[Any], float]


def graphs_alive(seen: Any) -> float:
    """Most graphs of one line that are alive at once after a step, the newest left out."""
    counts = [Counter(seen.events[index].location for index in step.alive) for step in seen.events.steps]
    return max((max(count.values(), default=0) - 1 for count in counts), default=0)


def same_batch(seen: Any) -> float:
    """Most steps in a row from one batch of a loader of several batches, each time read anew."""
    longest = run = 0
    before: Any = None
    for step in seen.events.steps:
        reads = {index for found in seen.events.at(step.backwards) for index in _reads(seen, found)}
        batches = {(seen.events[index].loader, seen.events[index].indices or seen.events[index].content) for index in reads}
        several = all(seen.loaders[name].batches != 1 for name, _ in batches)
        run = run + 1 if batches and several and before is not None and (batches, False) == (before[0], reads == before[1]) else 1
        before = (batches, reads)
        longest = max(longest, run if batches else 0)
    return longest


def _reads(seen: Any, backward: Any) -> Iterator[int]:
    for forward in seen.events.at(getattr(backward, "forwards", ())):
        yield from getattr(forward, "reads", ())


def unanswered(seen: Any) -> float:
    """Most backwards that fill an optimizer's gradients with no step of it between them."""
    longest, run = 0, Counter[str]()
    for event in seen.events:
        kind = type(event).__name__
        if kind == "Step":
            run[event.optimizer] = 0
        if kind == "Backward" and event.accumulates:
            run.update(event.optimizers)
        longest = max(longest, *run.values(), 0)
    return longest


def contradicted(seen: Any) -> float:
    """Backwards whose targets the batch's own pairs contradict."""
    from nnlint_rules.step.samples_out_of_step import _against_pairs

    return sum(bool(_against_pairs(seen.events, backward)) for backward in seen.events.backwards)


def held_states(seen: Any) -> float:
    """Steps for which a state dict that shares the live memory is held."""
    kept = [state for state in seen.events.kept_states if state.shares_storage and not state.consumed]
    return max((len(state.alive_at) for state in kept), default=0)


def shared_samples(seen: Any) -> float:
    """Share of the samples of evaluation forwards that training has read."""
    used = {index for forward in seen.events.training_forwards for index in forward.reads}
    trained = {sample for index in used for sample in seen.events[index].samples}
    forwards = [forward for forward in seen.events.forwards if forward.reads and not forward.backwards]
    apart = [index for forward in forwards for index in forward.reads if index not in used]
    samples = [sample for index in dict.fromkeys(apart) for sample in seen.events[index].samples]
    return sum(sample in trained for sample in samples) / max(1, len(samples))


def written_targets(seen: Any) -> float:
    """Times that a trained network is written to by hand after a step, where another network stands still."""
    first = seen.events.steps[0].index if seen.events.steps else len(seen.events)
    live = [m for m in seen.events.modules.values() if any(m.parameters & step.changed for step in seen.events.steps)]
    if len(live) == len(seen.events.modules):
        return 0
    written = [event for event in seen.events.updates if event.index > first and event.by in ("hand", "rewriting")]
    return max((sum(bool(m.trainable) and m.trainable <= event.parameters for event in written) for m in live), default=0)


#: Rule, its limit, what is counted, how, and the operators that put the fault in.
TABLE: tuple[tuple[str, str, Measure, str], ...] = (
    ("STP004", "4 backwards without a step, of an optimizer that never steps", unanswered, "step() deleted"),
    ("STP014", "3 steps from one batch", same_batch, "next(iter(loader)) in the loop"),
    ("STP016", "3 backwards with other samples' targets", contradicted, "targets permuted"),
    ("STP016", "3 backwards with other samples' targets", contradicted, "zip of two shuffled passes"),
    ("STP018", "3 graphs of one line", graphs_alive, "loss kept without .item()"),
    ("STP023", "3 writes by hand into the trained network", written_targets, "the average goes into the trained network"),
    ("EVL003", "10 % of the samples", shared_samples, "evaluated on the training loader"),
    ("EVL004", "2 steps", held_states, "best weights not copied"),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-operator", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    given = scripts()
    print("| rule | limit | fault | healthy scripts (largest, second) | with the fault (smallest to largest) |")
    print("| --- | --- | --- | --- | --- |")
    by_name = {operator.name: operator for operator in OPERATORS}
    measures = {measure.__name__: measure for _, _, measure, _ in TABLE}
    healthy = dict(observed({script.name: script.source for script in given}, _all_of(measures), asked.workers))
    for code, limit, measure, fault in TABLE:
        sources = {name: mutant.source for name, mutant in mutants(given, by_name[fault], asked.per_operator)}
        faulty = dict(observed(sources, _all_of({measure.__name__: measure}), asked.workers))
        top = sorted(((numbers[measure.__name__], name) for name, numbers in healthy.items()), reverse=True)[:2]
        low = sorted(numbers[measure.__name__] for numbers in faulty.values())
        said = ", ".join(f"{value:.3g} ({name})" for value, name in top)
        print(f"| {code} | {limit} | {fault} | {said} | {', '.join(f'{value:.3g}' for value in low)} |", flush=True)


def _all_of(measures: dict[str, Measure]) -> Callable[[Any], str]:
    return lambda seen: json.dumps({name: measure(seen) for name, measure in measures.items()})


if __name__ == "__main__":
    main()
