"""Training codes that work are silent, and the page of the sweep over them says what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import codes, sweep_codes

SETUPS = dict(codes.setups())
#: A few of each area; the rest runs with benchmarks/sweep_codes.py.
CHOSEN = (
    "agents/ppo",
    "fields/super_resolution",
    "generative/vae",
    "graphs/gcn_sparse",
    "language/time_major_transformer",
    "language/word_language_model",
    "representation/byol",
    "representation/prototypical",
    "series/speech_ctc",
    "tables/matrix_factorization",
    "vision/center_detector",
)


def test_there_are_enough_setups_of_every_area() -> None:
    assert len(SETUPS) >= 60
    assert {name.partition("/")[0] for name in CHOSEN} == {name.partition("/")[0] for name in SETUPS}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")  # of a time-major encoder, as people build it
@pytest.mark.parametrize("name", CHOSEN)
def test_code_that_works_is_silent(name: str) -> None:
    assert sweep_codes.check_setup(name, SETUPS[name], deep=False).findings == ()


def test_the_page_counts_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> dict[str, Any]:
        raise AssertionError("is not built")

    def check_setup(name: str, _: Callable[[], Any], *, deep: bool) -> sweep_codes.Row:
        found = (("warning", "LOS021", "a sum"),) if name == "tables/bpr" else (("error", "ARC008", "mixes"),)
        return sweep_codes.Row(name, "deep" if deep else "default", 0.1, found if name != "clean" else ())

    monkeypatch.setattr(codes, "setups", lambda: [(name, fails) for name in ("tables/bpr", "mixed", "clean")])
    monkeypatch.setattr(sweep_codes, "check_setup", check_setup)
    monkeypatch.setattr(sweep_codes, "VERDICTS", {"LOS021 tables/bpr": "true as stated"})
    text = sweep_codes.page(list(sweep_codes.check_all(deep=True)))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert ["default", "3", "1", "1", "1", "1", "0.333"] in rows
    assert ["mixed", "error ARC008 (default, deep)", "false"] in rows
    assert ["tables/bpr", "warning LOS021 (default, deep)", "true as stated"] in rows
    assert ["clean", "", ""] in rows
