"""Whether targets repeat an input, and what their predictions see."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from nnlint.probes.dependence.copies import copy_of
from nnlint.probes.session import Plan, Session
from nnlint.setup import SetupOptions, coerce

GENERATOR = torch.Generator().manual_seed(4)
IDS = torch.randint(3, 50, (8, 15), generator=GENERATOR)
SERIES = torch.randn(8, 15, 3, generator=GENERATOR)
HIDDEN = torch.rand(8, 15, generator=GENERATOR) < 0.2


@pytest.mark.parametrize(
    ("values", "target", "shift"),
    [
        (IDS, IDS, 0),
        (IDS[:, :-1], IDS[:, 1:], 1),
        (IDS, IDS[:, 1:], 1),
        (IDS[:, :-2], IDS[:, 2:], 2),
        (IDS[:, 1:], IDS[:, :-1], -1),
        (IDS[:, :-1], IDS[:, 1:].reshape(-1), 1),
        (IDS[:, :-1], IDS[:, 1:].t().reshape(-1), 1),
        (IDS[:, :-1], IDS[:, 1:].t(), 1),
        (IDS[:, :-1], IDS[:, 1:].masked_fill(HIDDEN[:, 1:], -100), 1),
        (SERIES[:, :-1], SERIES[:, 1:], 1),
        (SERIES[:, :-1], SERIES[:, 1:, 1], 1),
        (SERIES[:, :-1], SERIES[:, 1:, 2:], 1),
        (SERIES[:, :-1], SERIES[:, 1:].transpose(1, 2), 1),
        (SERIES, SERIES[:, -4:], 11),
        (SERIES[..., 0], SERIES[..., 0], 0),
        (IDS, IDS % 5, None),
        (IDS.masked_fill(HIDDEN, 1), IDS.masked_fill(~HIDDEN, -100), None),
        (IDS, torch.arange(8), None),
        (SERIES[:, :10], SERIES[:, 10:], None),
        (SERIES, SERIES + 0.1, None),
        (torch.ones(8, 15, dtype=torch.long), torch.ones(8, 15, dtype=torch.long), None),
        (IDS, IDS.float(), None),
    ],
    ids=[
        "same", "next", "next of the whole", "after next", "previous", "in one row", "in one row, time first",
        "time first", "partly ignored",
        "series", "one of several", "one with its axis", "features first", "end of the window", "one series", "classes", "masked words",
        "a class a sample", "horizon", "other numbers", "constant", "numbers for ids",
    ],
)  # fmt: skip
def test_copies(values, target, shift) -> None:
    found = copy_of(values, target)
    assert (found.shift if found is not None else None) == shift


class Recurrent(nn.Module):
    def __init__(self, *, both=False):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(50, 8), nn.GRU(8, 16, batch_first=True, bidirectional=both)
        self.head = nn.Linear(32 if both else 16, 50)

    def forward(self, tokens):
        out = self.head(self.rnn(self.embed(tokens))[0])
        return out.transpose(1, 2)


def labels(model, inputs, targets):
    torch.manual_seed(0)
    given = {"model": model, "inputs": inputs, "targets": targets, "loss": nn.CrossEntropyLoss()}
    return Session(coerce(given, SetupOptions()), Plan(seed=0)).evidence("SequenceLabels").copies


def test_what_a_causal_prediction_sees() -> None:
    (copy,) = labels(Recurrent(), IDS[:, :-1], IDS[:, 1:])
    assert (copy.shift, copy.tokens, copy.op) == (1, True, None)
    assert copy.own == copy.later == 0.0
    assert copy.before > copy.earlier > 0.0


def test_what_a_prediction_of_both_sides_sees() -> None:
    (copy,) = labels(Recurrent(both=True), IDS[:, :-1], IDS[:, 1:])
    assert min(copy.own, copy.later, copy.before, copy.earlier) > 1e-4
    assert copy.op is not None
    assert copy.op.module_path == "rnn"
    assert not copy.by_vector


@pytest.mark.parametrize(
    ("targets", "codes"),
    [(IDS[:, 1:], []), (IDS[:, :-1], ["LOS029"])],
    ids=["next token", "same token"],
)
def test_state_and_finding(targets, codes) -> None:
    model, ids = Recurrent().eval(), IDS[:, :-1].clone()
    report = nnlint.check(
        {"model": model, "inputs": ids, "targets": targets, "loss": nn.CrossEntropyLoss()}, select=["LOS029", "ARC018"]
    ).results[0]
    assert [item.code for item in report.findings] == codes
    assert torch.equal(ids, IDS[:, :-1])
    assert not model.training


def test_classes_are_a_skip() -> None:
    report = nnlint.check(
        {"model": Recurrent(), "inputs": IDS, "targets": IDS % 7, "loss": nn.CrossEntropyLoss()}, select=["LOS029"]
    ).results[0]
    assert [item.reason for item in report.skipped] == ["the targets are not a copy of an input"]
