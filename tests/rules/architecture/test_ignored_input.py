"""ARC011 ignored-input: an input tensor, or a slice of its features, that changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from tests.rules.architecture.dependence import ids, rand
from tests.rules.architecture.outputs_and_inputs import found


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_codes_of_one_input_excuse_no_other() -> None:
    def two(net, x, y):
        codes = net.fc(x).argmax(dim=1)
        net.fc(y)
        return net.head(net.table(codes) + net.fc(x))

    items = found(
        two, (rand(16, 12), rand(16, 12)), fc=nn.Linear(12, 8), table=nn.Embedding(8, 8), head=nn.Linear(8, 5)
    )
    assert ("ARC011", "warning") in items


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
