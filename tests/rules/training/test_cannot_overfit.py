"""TRN001 cannot-overfit: A small fixed batch that the model cannot learn by heart at any learning rate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from tests.rules.training.training import found, mlp, reason


class Headed(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.net, self.head = mlp(), head

    def forward(self, x):
        return self.head(self.net(x))


def test_a_plateau_is_an_error_that_names_its_value():
    (finding,) = found("TRN001", Headed(lambda z: z.softmax(1)), deep=True)
    assert finding.level.value == "error"
    assert "softmax or sigmoid before cross-entropy" in finding.message
    assert finding.evidence["plateau"] == pytest.approx(0.9048, rel=0.02)  # ln(e + 4) - 1


def test_the_cause_is_the_finding_and_the_plateau_its_symptom():
    torch.manual_seed(1)
    model = Headed(lambda z: z.softmax(1))
    fields = {"inputs": torch.randn(64, 20), "targets": torch.arange(64) % 5, "loss": nn.CrossEntropyLoss()}
    codes = {
        f.code: f for f in nnlint.check({"model": model, **fields}, select=["LOS001", "TRN001"], deep=True).findings
    }
    assert set(codes) == {"LOS001"}
    assert [symptom.code for symptom in codes["LOS001"].symptoms] == ["TRN001"]


@pytest.mark.parametrize("rate", [1e-8, 10.0])
def test_the_users_learning_rate_does_not_decide(rate):
    model = mlp()
    assert found("TRN001", model, torch.optim.SGD(model.parameters(), lr=rate), deep=True) == []


@pytest.mark.parametrize(
    ("model", "fields", "words"),
    [
        (nn.Linear(3, 10), {"inputs": torch.randn(64, 3), "targets": torch.randint(0, 10, (64,))}, "linear model"),
        (mlp(), {"inputs": torch.ones(64, 20)}, "same input have different targets"),
        (mlp(), {"loss": lambda z, y: -(z[torch.arange(len(y)), y] * 0.1).mean()}, "not known"),
    ],
    ids=["capacity", "conflict", "custom loss"],
)
def test_what_proves_nothing_is_skipped_with_its_reason(model, fields, words):
    said = reason("TRN001", model, deep=True, **fields)
    assert said.startswith("inconclusive, loss")
    assert words in said


def test_without_deep_it_says_what_it_needs():
    assert reason("TRN001", mlp()) == "needs --deep or --probe overfit"
    assert found("TRN001", mlp(), probes=("overfit",)) == []
