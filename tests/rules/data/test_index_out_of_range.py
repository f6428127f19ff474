"""DAT013 index-out-of-range: token or category ids outside the range of an embedding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from tests.rules.data.values import check


def tokens(rows):
    return nn.Sequential(nn.Embedding(rows, 8), nn.Flatten(), nn.Linear(48, 4))


@pytest.mark.parametrize(("rows", "ids", "fires"), [(50, 49, False), (50, 50, True), (50, -1, True), (50, 0, False)])
def test_index_out_of_range(rows, ids, fires) -> None:
    inputs = torch.full((4, 6), ids)
    report = nnlint.check({"model": tokens(rows), "inputs": inputs}, select=["DAT013"]).results[0]
    assert [item.module for item in report.findings if item.code == "DAT013"] == (["0"] if fires else [])
    assert (report.status == "failed") == fires


class Branching(nn.Module):
    """No symbolic graph can be had of it: it branches on a value."""

    def __init__(self, look_up):
        super().__init__()
        self.table, self.head = nn.Embedding(50, 8), nn.Linear(8, 4)
        self.look_up = look_up

    def forward(self, ids):
        if ids.sum() > 0:
            ids = ids.abs()
        return self.head(self.look_up(self.table, ids).mean(1))


@pytest.mark.parametrize(
    "look_up",
    [
        lambda table, ids: table(ids),
        lambda table, ids: nn.functional.embedding(ids, table.weight),
        lambda table, ids: torch.embedding(table.weight, ids),
        lambda table, ids: nn.functional.embedding_bag(ids, table.weight)[:, None],
    ],
    ids=["module", "functional", "torch", "bag"],
)
def test_the_embedding_that_raised_is_named_without_a_graph(look_up) -> None:
    ids = torch.arange(24).reshape(4, 6) + 30
    report = nnlint.check({"model": Branching(look_up), "inputs": ids}, select=["DAT013"]).results[0]
    (found,) = (item for item in report.findings if item.code == "DAT013")
    assert {key: found.evidence[key] for key in ("input", "max", "rows", "outside")} == {
        "input": "inputs", "max": 53, "rows": 50, "outside": 4
    }  # fmt: skip
    assert found.location.function.endswith(("Branching.forward", "<lambda>"))


def test_ids_that_the_model_makes_are_judged_where_they_raise() -> None:
    model = Branching(lambda table, ids: table(ids + 40))
    report = nnlint.check({"model": model, "inputs": torch.full((4, 6), 15)}, select=["DAT013"]).results[0]
    (found,) = (item for item in report.findings if item.code == "DAT013")
    assert (found.module, found.evidence["input"], found.evidence["max"]) == ("table", "its input", 55)


def test_a_forward_that_raises_elsewhere_is_no_matter_of_ids() -> None:
    model = Branching(lambda table, ids: table(ids) @ torch.ones(3))
    report = nnlint.check({"model": model, "inputs": torch.full((4, 6), 15)}, select=["DAT013"]).results[0]
    assert {item.code for item in report.findings} == {"RUN002"}
    assert any("tracing failed" in item.reason for item in report.skipped if item.code == "DAT013")


def test_an_embedding_that_raises_and_is_caught_is_silent() -> None:
    def look_up(table, ids):
        try:
            return table(ids)
        except IndexError:
            return table(ids % 50)

    assert check("DAT013", Branching(look_up), torch.full((4, 6), 77)) == []


def test_ids_that_are_changed_first_are_not_judged() -> None:
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = tokens(50)

        def forward(self, ids):
            return self.tokens(ids % 50)

    assert check("DAT013", Shifted(), torch.randint(0, 500, (4, 6))) == []
