"""SIG006 collapsed-features: different samples have the same features, and the model does not learn to tell them apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint


def margin(scores, targets):
    """No known loss: that it is stuck is the overfit probe's to say, what it could reach is not."""
    right = scores.gather(1, targets[:, None])
    return torch.relu(1.0 + scores - right).sum(dim=1).mean() - 1.0


def collapsed(model, inputs, **changes):
    settings = {"select": ["SIG006"], "probes": ("overfit",), **changes}
    fields = {"targets": torch.arange(len(inputs)) % 8, "loss": margin, **settings.pop("fields", {})}
    return nnlint.check({"model": model, "inputs": inputs, **fields}, **settings).results[0]


def alike(samples=64, difference=0.002):
    """Embeddings that share one large common vector."""
    torch.manual_seed(0)
    return torch.randn(48) + difference * torch.randn(samples, 48)


def mlp(*first):
    torch.manual_seed(0)
    return nn.Sequential(*first, nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 8))


class Smoothed(nn.Module):
    """Averages over the nodes of each graph again and again; `skip` keeps what was there."""

    def __init__(self, depth, *, skip):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(48, 48) for _ in range(depth))
        self.head, self.skip = nn.Linear(48, 8), skip

    def forward(self, x):
        mixing = torch.softmax(0.1 * x @ x.t().detach() * 0, dim=1)
        for layer in self.layers:
            mixed = mixing @ torch.tanh(layer(x))
            x = x + mixed if self.skip else mixed
        return self.head(x)


def test_samples_that_differ_by_thousandths():
    (finding,) = collapsed(mlp(), alike()).findings
    assert (finding.level.value, finding.module) == ("warning", "0")
    assert 0.0 < finding.evidence["sample_spread"] < finding.evidence["limit"] == 0.005
    assert finding.evidence["overfit"] == "inconclusive"
    assert "all 64 samples look alike from there on" in finding.message


def test_averages_over_averages_and_the_skip_connection():
    torch.manual_seed(0)
    inputs = torch.randn(16, 48)
    (finding,) = collapsed(Smoothed(6, skip=False), inputs).findings
    assert finding.evidence["sample_spread"] < 1e-4
    assert collapsed(Smoothed(6, skip=True), inputs).findings == []


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (mlp(nn.BatchNorm1d(48)), alike()),
        (mlp(), alike(difference=1.0)),
        (
            nn.Sequential(*[layer for _ in range(3) for layer in (nn.Linear(48, 48), nn.Sigmoid())], nn.Linear(48, 8)),
            alike(difference=1.0),
        ),
    ],
    ids=["norm", "different samples", "sigmoids"],
)
def test_samples_that_can_be_told_apart(model, inputs):
    result = collapsed(model, inputs)
    assert (result.findings, result.skipped) == ([], [])


def test_what_is_learned_in_spite_of_a_small_spread_is_no_fault():
    """The difference is small and the net learns all the same: with cross-entropy the probe sees that it fits."""
    result = collapsed(mlp(), alike(8, 0.05), fields={"loss": nn.CrossEntropyLoss()}, rules={"SIG006": {"spread": 1.0}})
    assert result.measurements["overfit"]["verdict"] == "fit"
    assert (result.findings, result.skipped) == ([], [])


@pytest.mark.parametrize(
    ("inputs", "changes", "reason"),
    [
        (alike(2), {}, "samples, got 2"),
        (alike(), {"probes": ()}, "needs --deep or --probe overfit"),
        (alike(), {"fields": {"loss": None, "targets": None}}, "no loss given"),
    ],
    ids=["samples", "not deep", "no loss"],
)
def test_what_cannot_be_judged_says_so(inputs, changes, reason):
    result = collapsed(mlp(), inputs, **changes)
    assert result.findings == []
    assert reason in result.skipped[0].reason


def test_the_limit_is_an_option():
    assert collapsed(mlp(), alike(), rules={"SIG006": {"spread": 1e-5}}).findings == []
