"""ARC008 batch-mixing: the output of one sample depends on the other samples of the batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.rules.architecture.dependence import found, ids, rand, report


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def centred(net, x):
    h = net.fc(x)
    return h - h.mean(0)


def test_mixing_is_an_error_with_its_place() -> None:
    item = found(centred, rand(16, 12), targets=ids(16, high=5), fc=nn.Linear(12, 5))["ARC008", "error"]
    assert "mean" in item.message
    assert item.location is not None
    assert item.location.file.endswith("test_batch_mixing.py")
    assert item.evidence["influence"] > item.evidence["limit"]


def test_one_number_for_each_sample() -> None:
    """Outputs without a second axis are compared like others."""

    def forward(net, x):
        return centred(net, x).squeeze(1)

    items = found(forward, rand(16, 12), targets=rand(16), loss=nn.MSELoss(), fc=nn.Linear(12, 1))
    assert list(items) == [("ARC008", "error")]


def test_a_reshape_is_named_in_the_fix() -> None:
    def swapped(net, x):
        return net.fc(x.t().reshape(x.shape[0], -1))

    item = found(swapped, rand(16, 12), targets=ids(16, high=5), fc=nn.Linear(12, 5))["ARC008", "error"]
    assert "reshape" in item.fix


class GhostNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(12, track_running_stats=False)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        return self.fc(self.norm(x))


class Routed(nn.Module):
    """Two experts that take one row each, the first that comes."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(12, 2)
        self.experts = nn.ModuleList([nn.Linear(12, 5) for _ in range(2)])

    def forward(self, x):
        probability, expert = self.gate(x).softmax(dim=1).topk(1, dim=1)
        chosen = F.one_hot(expert[:, 0], 2)
        place = (chosen.cumsum(dim=0) * chosen).sum(dim=1)
        kept = (place <= 1).float()[:, None]
        out = sum((expert == number).float() * layer(x) for number, layer in enumerate(self.experts))
        return kept * probability * out


@pytest.mark.parametrize(
    ("function", "parts", "declared", "reason"),
    [
        (lambda net, x: net.ghost(x), {"ghost": GhostNorm}, (), "batch statistics"),
        (lambda net, x: net.routed(x), {"routed": Routed}, (), "capacity"),
        (centred, {}, ("set-input",), "set"),
    ],
    ids=["batch statistics", "experts", "set"],
)
def test_mixing_with_a_reason_is_a_warning(function, parts, declared, reason) -> None:
    built = {name: make() for name, make in parts.items()}
    items = found(function, rand(16, 12), declared=declared, fc=nn.Linear(12, 6), targets=ids(16, high=4), **built)
    assert reason in items["ARC008", "warning"].message


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: F.normalize(net.fc(x)) @ F.normalize(net.fc(x)).t(),
        lambda net, x: torch.cdist(net.fc(x), net.fc(x)),
    ],
    ids=["cosines", "distances"],
)
def test_batch_by_batch_outputs_are_a_note(function) -> None:
    items = found(function, rand(16, 12), fc=nn.Linear(12, 6), targets=ids(16, high=4))
    assert "contrastive" in items["ARC008", "info"].message


def test_declared_mixing_is_silent() -> None:
    assert not found(centred, rand(16, 12), declared=("batch-mixing",), fc=nn.Linear(12, 5))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norms_are_in_evaluation_by_then(momentum) -> None:
    norm = nn.BatchNorm1d(12, momentum=momentum)
    assert not found(lambda net, x: net.fc(net.norm(x)), rand(16, 12), norm=norm, fc=nn.Linear(12, 5))


def test_nodes_of_a_graph_are_skipped() -> None:
    def convolve(net, x, edges):
        return net.fc(x.index_add(0, edges[0], x[edges[1]]))

    result = report(convolve, (rand(16, 12), ids(2, 30, high=16)), fc=nn.Linear(12, 5))
    assert not result.findings
    assert "graph" in next(item.reason for item in result.skipped if item.code == "ARC008")
