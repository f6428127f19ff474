"""ARC010, ARC011, ARC012: outputs that do not vary, inputs that do not matter, dropout that stays on."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nnlint
from tests.rules.architecture.test_dependence import Functional, ids, rand

CODES = ("ARC010", "ARC011", "ARC012", "SIG007")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def report(function, inputs, **parts):
    fields = {key: parts.pop(key) for key in ("declared", "targets", "loss") if key in parts}
    torch.manual_seed(0)
    model = Functional(function, **parts)
    return nnlint.check({"model": model, "inputs": inputs, **fields}, select=list(CODES)).results[0]


def found(*args, **kwargs):
    result = report(*args, **kwargs)
    assert result.status == "ok"
    return {(item.code, item.level.value): item for item in result.findings}


def supervised(samples=16):
    return {"targets": ids(samples, high=5), "loss": nn.CrossEntropyLoss()}


# -------------------------------------------------------------------- ARC010


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


def test_codes_of_one_input_excuse_no_other() -> None:
    def two(net, x, y):
        codes = net.fc(x).argmax(dim=1)
        net.fc(y)
        return net.head(net.table(codes) + net.fc(x))

    items = found(
        two, (rand(16, 12), rand(16, 12)), fc=nn.Linear(12, 8), table=nn.Embedding(8, 8), head=nn.Linear(8, 5)
    )
    assert ("ARC011", "warning") in items


def test_equal_samples_and_one_sample_are_skipped() -> None:
    for inputs in (torch.ones(16, 12), rand(1, 12)):
        result = report(lambda net, x: net.fc(x), inputs, fc=nn.Linear(12, 5))
        assert not result.findings
        assert "ARC010" in {item.code for item in result.skipped}


# -------------------------------------------------------------------- ARC011


def test_an_unused_input() -> None:
    items = found(lambda net, x, y: net.fc(x), (rand(16, 12), rand(16, 3)), fc=nn.Linear(12, 5))
    assert set(items) == {("ARC011", "warning")}
    quiet = found(
        lambda net, x, y: net.fc(x), (rand(16, 12), rand(16, 3)), declared=("unused-inputs",), fc=nn.Linear(12, 5)
    )
    assert not quiet


def test_unused_tokens() -> None:
    items = found(lambda net, x, y: net.fc(x), (rand(16, 12), ids(16, 3)), fc=nn.Linear(12, 5))
    assert set(items) == {("ARC011", "warning")}


def test_a_slice_names_its_positions() -> None:
    item = found(lambda net, x: net.fc(x[:, 3:]), rand(16, 12), fc=nn.Linear(9, 5))["ARC011", "warning"]
    assert "positions 0-2 of 12 along axis 1" in item.message
    assert item.evidence["positions"] == [[0, 1, 2]]


def test_the_border_that_strides_leave_over_is_an_info() -> None:
    conv = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert set(found(lambda net, x: net.conv(x), rand(8, 3, 16, 16), conv=conv)) == {("ARC011", "info")}


class Grey(nn.Module):
    """Takes one channel of a colour image, as SuperPoint does of the grey ones that its processor makes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

    def forward(self, x):
        return self.conv(x[:, :1])


@pytest.mark.parametrize(("libraries", "level"), [((), "warning"), (("tests",), "info")])
def test_one_channel_of_a_colour_image_is_the_design_of_a_library_alone(libraries, level) -> None:
    case = {"model": Grey(), "inputs": rand(8, 3, 9, 9)}
    (item,) = nnlint.check(case, select=["ARC011"], libraries=libraries).findings
    assert item.level.value == level


class Masked(nn.Module):
    def __init__(self, *, uses):
        super().__init__()
        self.attention, self.fc, self.uses = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 5), uses

    def forward(self, x, padding_mask):
        hidden = padding_mask if self.uses else None
        return self.fc(self.attention(x, x, x, key_padding_mask=hidden)[0][:, 0])


@pytest.mark.parametrize(
    ("mask", "uses", "expected"),
    [
        (torch.arange(6) >= ids(8, 1, high=4) + 2, False, {("ARC011", "error")}),
        ((torch.arange(6) >= 4).expand(8, 6), False, {("ARC011", "error")}),
        (torch.arange(6) >= ids(8, 1, high=4) + 2, True, set()),
        ((torch.arange(6) >= 4).expand(8, 6), True, set()),
        (torch.zeros(8, 6, dtype=torch.bool), False, set()),
    ],
    ids=["ignored", "ignored, equal for all", "used", "used, equal for all", "hides nothing"],
)
def test_masks(mask, uses, expected) -> None:
    torch.manual_seed(0)
    setup = {"model": Masked(uses=uses), "inputs": (rand(8, 6, 8), mask)}
    result = nnlint.check(setup, select=["ARC011"]).results[0]
    assert {(item.code, item.level.value) for item in result.findings} == expected


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x, y: (net.fc(x), y),
        lambda net, x, y: net.fc(x) + net.zero(y),
        lambda net, x, y: net.fc(x) * (y.sum(1, keepdim=True) > 0),
    ],
    ids=["passed through", "zero-initialized", "compared"],
)
def test_inputs_that_matter(function) -> None:
    zero = nn.Linear(3, 5)
    nn.init.zeros_(zero.weight)
    assert not found(function, (rand(16, 12), rand(16, 3)), fc=nn.Linear(12, 5), zero=zero)


# -------------------------------------------------------------------- ARC012 and SIG007


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
