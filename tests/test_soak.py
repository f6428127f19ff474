"""A bounded part of `benchmarks/soak.py`, and the setups in which it found something."""

from __future__ import annotations

import pytest

from benchmarks import soak

#: What each of these showed: an exception out of `check`, a crashed rule, a false finding or a report that differed.
FOUND = {
    20: "a nested batch has no shape",
    38: "a jagged gradient has no norm",
    130: "a jagged batch cannot be filled up, cut or compared",
    133: "the statistics of a wrapper are wrappers",
    139: "a batch without samples",
    156: "nested gradients in a foreach",
    161: "the statistics of a subclass are of that subclass",
    301: "a lazy layer beside a traced one, whose copies are no leaves",
    326: "fake tensors call kernels that no line of the user calls",
    339: "a nested batch where inputs are changed one by one",
    4062: "no class labels in an empty batch",
    4081: "nothing to fit in an empty batch",
    350: "a wrapper calls kernels to carry out a layer",
    60049: "offsets of bags are no samples",
    60121: "sparse gradients for the optimizer of a probe",
    50088: "a nested batch in the probe of input dependence",
    50133: "nested values in the search for the op that mixes samples",
    50240: "scripted parts take no hooks in the gradient check",
    50372: "a jagged batch in the probe of input dependence",
}


@pytest.mark.parametrize("seed", FOUND, ids=str)
def test_what_was_found_stays_fixed(seed: int) -> None:
    assert soak.examine(seed)["problems"] == []


@pytest.mark.parametrize("start", range(0, 60, 12))
def test_generated_setups_are_checked_without_a_trace(start: int) -> None:
    rows = [soak.examine(seed) for seed in range(start, start + 12)]
    assert [row for row in rows if row["problems"]] == []
    assert sum("unbuilt" not in row for row in rows) > 6


def test_the_soak_would_see_a_change() -> None:
    setup = soak.soak_setups.build(1)
    before = soak.fingerprint(setup)
    setup["model"].eval()
    assert soak.fingerprint(setup) != before
