"""TRN005 ignores-input: training on inputs without information does as well as training on the real ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from tests.rules.training.training import found, mlp, reason


class Masked(nn.Module):
    def __init__(self, hide):
        super().__init__()
        self.net, self.hide = mlp(), hide

    def forward(self, x):
        return self.net(self.hide(x) if self.training else x)


@pytest.mark.parametrize(
    "hide",
    [lambda x: x * 0.0, lambda x: torch.where(torch.rand_like(x) < 25, 0.5, x)],
    ids=["times zero", "mask in percent"],
)
def test_an_input_that_training_does_not_see(hide):
    (finding,) = found("TRN005", Masked(hide), deep=True)
    assert finding.level.value == "error"


@pytest.mark.parametrize(
    "hide",
    [lambda x: x, lambda x: F.dropout(x, 0.5), lambda x: x + torch.randn_like(x)],
    ids=["seen", "dropout", "noise"],
)
def test_an_input_that_it_sees(hide):
    assert found("TRN005", Masked(hide), deep=True) == []


def test_batches_that_a_bias_can_memorize():
    alike = {"targets": torch.zeros(64, dtype=torch.int64)}
    assert found("TRN005", Masked(lambda x: x * 0.0), deep=True, **alike) == []  # fits, and need not look
    tiny = {"inputs": torch.randn(4, 20), "targets": torch.arange(4)}
    assert "needs 8 samples, got 4" in reason("TRN005", Masked(lambda x: x * 0.0), deep=True, **tiny)


def test_a_slow_net_still_looks():
    torch.manual_seed(0)
    slow = nn.Sequential(*[layer for _ in range(3) for layer in (nn.Linear(20, 20), nn.Sigmoid())], nn.Linear(20, 5))
    assert found("TRN005", slow, deep=True) == []


def test_a_loss_that_is_no_number_after_the_steps_tells_nothing():
    # In half precision Adam's epsilon of 1e-8 is zero, and the weights of what gets no gradient become 0 / 0.
    halved = {"inputs": torch.randn(64, 20).half(), "optimizer": None}
    assert "not finite" in reason("TRN005", Masked(lambda x: x * 0.0).half(), deep=True, **halved)


class Ranking(nn.Module):
    """Users with an item they took and one they did not, as BPR has them: no targets, every input moves along."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(30, 8), nn.Embedding(40, 8)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.01)

    def forward(self, user, taken, other):
        return (self.user(user) * (self.item(taken) - self.item(other))).sum(-1)


class Views(nn.Module):
    """Two views of each sample, each other's only match."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(12, 8)

    def forward(self, one, other):
        return self.net(one) @ self.net(other).t()


@pytest.mark.parametrize("kind", ["ranking", "views"])
def test_a_batch_without_targets_in_another_order_is_the_same_batch(kind: str) -> None:
    torch.manual_seed(0)
    if kind == "ranking":
        model, inputs = Ranking(), tuple(torch.randint(0, high, (64,)) for high in (30, 40, 40))
        loss = lambda out: -nn.functional.logsigmoid(out).sum()  # noqa: E731
    else:
        model, x = Views(), torch.randn(16, 12)
        inputs, loss = (x, x + torch.randn(16, 12)), lambda out: nn.functional.cross_entropy(out, torch.arange(16))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    setup = {"model": model, "inputs": inputs, "loss": loss, "optimizer": optimizer}
    report = nnlint.check(setup, select=["TRN005"], deep=True).results[0]
    assert report.status == "ok"
    assert report.findings == []


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.kind, self.price = nn.Sequential(nn.Linear(20, 64), nn.ReLU()), nn.Linear(64, 5), nn.Linear(64, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.kind(h), self.price(h)


def test_a_term_that_drowns_another_is_the_cause() -> None:
    """The price is a hundred thousand: all that training learns is that number, whatever the inputs are."""
    torch.manual_seed(0)
    model, prices = Heads(), torch.randn(64, 1) * 3e3 + 1e5
    setup = {
        "model": model,
        "inputs": torch.randn(64, 20),
        "targets": (torch.arange(64) % 5, prices),
        "loss": lambda out, y: F.cross_entropy(out[0], y[0]) + F.mse_loss(out[1], y[1]),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }
    found = nnlint.check(setup, select=["TRN005", "LOS036"], deep=True).results[0].findings
    assert [(item.code, item.level.value) for item in found] == [("LOS036", "warning")]
    assert [item.code for item in found[0].symptoms] == ["TRN005"]
