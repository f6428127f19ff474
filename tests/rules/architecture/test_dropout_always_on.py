"""ARC012 dropout-always-on: evaluation-mode output is random because of dropout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nnlint
from tests.rules.architecture.dependence import rand
from tests.rules.architecture.outputs_and_inputs import CODES, found, supervised


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(F.dropout2d(torch.relu(self.conv(x)), 0.2).mean((2, 3)))


class CallsTrain(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop, self.fc = nn.Dropout(0.2), nn.Linear(12, 5)

    def forward(self, x):
        self.drop.train()
        return self.fc(self.drop(x))


@pytest.mark.parametrize(("model", "inputs"), [(Convolutional(), rand(8, 3, 8, 8)), (CallsTrain(), rand(16, 12))])
def test_dropout_that_stays_on(model, inputs) -> None:
    result = nnlint.check({"model": model, "inputs": inputs}, select=list(CODES)).results[0]
    assert [item.code for item in result.findings] == ["ARC012"]
    assert result.findings[0].evidence["p"] == 0.2


@pytest.mark.parametrize(
    ("between", "declared", "expected"),
    [
        (lambda h: F.dropout(h, 0.3), (), {("ARC012", "error")}),
        (lambda h: F.dropout(h, 0.3), ("monte-carlo-dropout",), set()),
        (lambda h: F.dropout(h, 0.3), ("stochastic",), set()),
        (lambda h: h + torch.randn_like(h), (), {("SIG007", "error")}),
        (lambda h: h + 0.1 * torch.randn(h.shape), (), {("SIG007", "error")}),
        (lambda h: h * (torch.rand_like(h) > 0.3), (), {("SIG007", "error")}),
        (lambda h: h * torch.floor(0.7 + torch.rand(len(h), 1)), (), {("SIG007", "error")}),
        (lambda h: h + h.exp() * torch.randn_like(h), (), {("SIG007", "info")}),
        (lambda h: torch.distributions.Normal(h, h.exp()).rsample(), (), {("SIG007", "info")}),
        (lambda h: h.gather(1, torch.rand_like(h).argsort(1)), (), {("SIG007", "info")}),
        (lambda h: h + torch.randn_like(h), ("stochastic",), set()),
        (lambda h: h + 0.5, (), set()),
    ],
    ids=[
        "dropout",
        "Monte-Carlo",
        "stochastic dropout",
        "noise",
        "scaled noise",
        "mask",
        "stochastic depth",
        "latent",
        "distribution",
        "permutation",
        "stochastic",
        "nothing random",
    ],
)
def test_random_evaluation(between, declared, expected) -> None:
    items = found(lambda net, x: net.fc(between(x)), rand(16, 12), declared=declared, fc=nn.Linear(12, 5))
    assert set(items) == expected


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_dropout_on_few_outputs_is_seen_although_two_masks_may_be_equal(share) -> None:
    items = found(lambda net, x: F.dropout(net.fc(x), share), rand(32, 20), fc=nn.Linear(20, 5), **supervised(32))
    assert ("ARC012", "error") in items
