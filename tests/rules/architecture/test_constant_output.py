"""ARC010 constant-output: every sample gets the same output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.architecture.dependence import ids, rand
from tests.rules.architecture.outputs_and_inputs import found, report, supervised


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: net.fc(torch.zeros_like(x)),
        lambda net, x: net.one(net.fc(x)).softmax(dim=1),
        lambda net, x: net.fc(net.fc.bias[:1] + 0 * x),
        lambda net, x: net.fc(torch.full_like(x, 3.0)) + 1e-9 * net.fc(x),
    ],
    ids=["zeros", "softmax of one", "overwritten", "faint"],
)
def test_constant_outputs(function) -> None:
    items = found(function, rand(16, 12), fc=nn.Linear(12, 5), one=nn.Linear(5, 1))
    assert ("ARC010", "error") in items
    assert ("ARC011", "warning") not in items  # its symptom


def test_the_layer_where_samples_become_one_is_named() -> None:
    def flat(net, x):
        return net.head(torch.relu(net.fc(x)))

    fc = nn.Linear(12, 8)
    nn.init.constant_(fc.bias, -100.0)
    assert "relu" in found(flat, rand(16, 12), fc=fc, head=nn.Linear(8, 5))["ARC010", "error"].message


def test_a_flat_branch_that_varies_again_is_not_named() -> None:
    def silenced(net, x):
        h = net.fc(x) + net.branch(x)  # a zero-initialized branch
        return net.head(torch.relu(h)) * 0.0

    branch = nn.Linear(12, 8)
    nn.init.zeros_(branch.weight)
    item = found(silenced, rand(16, 12), fc=nn.Linear(12, 8), branch=branch, head=nn.Linear(8, 5))["ARC010", "error"]
    assert "branch" not in item.message


@pytest.mark.parametrize("zero", ["head", "gate"])
def test_zero_initialized_parts_are_no_fault(zero) -> None:
    def gated(net, x):
        return net.head(net.gate * net.fc(x))

    head, gate = nn.Linear(8, 5), nn.Parameter(torch.ones(1))
    with torch.no_grad():
        (head.weight if zero == "head" else gate).zero_()
    assert not found(gated, rand(16, 12), fc=nn.Linear(12, 8), head=head, gate=gate, **supervised())


@pytest.mark.parametrize(("beside", "level"), [(0.0, "error"), (None, "info")])
def test_a_fresh_codebook_gives_all_samples_one_code(beside, level) -> None:
    def quantized(net, x):
        codes = torch.cdist(net.fc(x), net.codebook).argmin(dim=1)
        found = net.codebook[codes]
        return net.head(found if beside is None else found + beside * net.fc(x))

    items = found(quantized, rand(16, 12), fc=nn.Linear(12, 8), codebook=torch.zeros(32, 8), head=nn.Linear(8, 5))
    assert ("ARC010", level) in items
    assert ("ARC011", "warning") not in items


@pytest.mark.parametrize(
    ("inputs", "places"),
    [
        (rand(16, 12), lambda x: torch.arange(len(x)) * 0),
        (ids(16, 12), lambda x: x.view(-1, 12)[:, 0] * 0),
        (rand(16, 12), lambda x: (x[:, 0] > 100).long()),
    ],
    ids=["counted out", "viewed ids", "compared"],
)
def test_integers_that_are_no_codes_leave_a_constant_output_an_error(inputs, places) -> None:
    def flat(net, x):
        return net.head(net.table(places(x)))

    items = found(flat, inputs, table=nn.Embedding(8, 8), head=nn.Linear(8, 5))
    assert ("ARC010", "error") in items


def test_equal_samples_and_one_sample_are_skipped() -> None:
    for inputs in (torch.ones(16, 12), rand(1, 12)):
        result = report(lambda net, x: net.fc(x), inputs, fc=nn.Linear(12, 5))
        assert not result.findings
        assert "ARC010" in {item.code for item in result.skipped}
