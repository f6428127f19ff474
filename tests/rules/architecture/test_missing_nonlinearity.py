"""ARC005: linear maps that compose, and the designs in which a second one is meant."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings, levels

IMAGE = torch.randn(4, 8, 10, 10)

COMPOSED = {
    "sequential": (nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), None),
    "functional": (Net(lambda net, x: F.linear(net.a(x), net.b.weight), a=nn.Linear(8, 8), b=nn.Linear(8, 8)), None),
    "method": (Net(lambda net, x: net.a(x) @ net.w, a=nn.Linear(8, 8), w=nn.Parameter(torch.randn(8, 8))), None),
    "view between": (
        Net(lambda net, x: net.b(net.a(x).view(2, 8, 8).flatten(0, 1)), a=nn.Linear(8, 8), b=nn.Linear(8, 8)),
        None,
    ),
    "dropout between": (nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 8)), None),
    "scale between": (
        Net(
            lambda net, x: net.b(net.a(x) * 0.5 + net.w),
            a=nn.Linear(8, 8),
            b=nn.Linear(8, 8),
            w=nn.Parameter(torch.ones(8)),
        ),
        None,
    ),
    "convolutions": (nn.Sequential(nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3)), IMAGE),
    "batch norm between": (nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3)), IMAGE),
    "average pooling between": (nn.Sequential(nn.Conv2d(8, 16, 3), nn.AvgPool2d(2), nn.Conv2d(16, 16, 3)), IMAGE),
    "head": (nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 3)), None),
}


@pytest.mark.parametrize("case", COMPOSED)
def test_maps_that_compose(case):
    model, inputs = COMPOSED[case]
    (finding,) = findings("ARC005", model, inputs)
    assert finding.level.value == "warning"


def test_a_chain_of_three_is_one_finding():
    (finding,) = findings("ARC005", nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)))
    assert finding.evidence["layers"] == 3


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.b(x + self.a(x))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(-1, -2)
        return self.out(scores.softmax(-1) @ self.v(x))


class Fixed(nn.Module):
    """Transforms that are computed once and kept as buffers."""

    def __init__(self, *sizes):
        super().__init__()
        for place, size in enumerate(sizes):
            self.register_buffer(f"transform{place}", torch.randn(*size))

    def forward(self, x):
        for transform in self.buffers():
            x = F.linear(x, transform)
        return x


def frozen(layer):
    return layer.requires_grad_(requires_grad=False)


#: A matrix that nobody learns is a change of basis, and no layer too many.
FIXED = {
    "cosines along both sides": (
        Net(lambda net, x: net.head(net.dct(net.dct(x).transpose(1, 2)).flatten(1)), dct=Fixed((8, 8)), head=nn.Linear(64, 3)),
        torch.randn(4, 8, 8),
    ),
    "mel filters": (nn.Sequential(Fixed((20, 8)), nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3)), None),
    "random projection": (nn.Sequential(Fixed((64, 8)), nn.Linear(64, 3)), None),
    "probe of a frozen projection": (nn.Sequential(nn.Linear(8, 32), nn.ReLU(), frozen(nn.Linear(32, 32)), nn.Linear(32, 3)), None),
    "whitening": (Net(lambda net, x: net.body(x @ net.matrix), matrix=torch.randn(8, 8), body=nn.Linear(8, 3)), None),
    "codes of a frozen head": (nn.Sequential(nn.Linear(8, 16), frozen(nn.Linear(16, 16)), nn.Softmax(-1)), None),
}


@pytest.mark.parametrize("case", FIXED)
def test_fixed_transforms(case):
    model, inputs = FIXED[case]
    assert not findings("ARC005", model, inputs)


DESIGNS = {
    "activation": (nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)), None),
    "low rank": (nn.Sequential(nn.Linear(8, 2, bias=False), nn.Linear(2, 8)), None),
    "bottleneck": (nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8)), None),
    "depthwise then pointwise": (nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1)), IMAGE),
    "pointwise then depthwise": (nn.Sequential(nn.Conv2d(8, 16, 1), nn.Conv2d(16, 16, 3, groups=16)), IMAGE),
    "linear bottleneck": (nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 48, 1)), IMAGE),
    "factorised kernel": (nn.Sequential(nn.Conv2d(8, 8, (1, 3)), nn.Conv2d(8, 8, (3, 1))), IMAGE),
    "layer norm": (nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8)), None),
    "max pooling": (nn.Sequential(nn.Conv2d(8, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)), IMAGE),
    "residual sum": (Residual(), None),
    "attention": (Attention(), torch.randn(2, 5, 8)),
    "multi-head attention": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 5, 8)),
    "two readers": (Net(lambda net, x: (h := net.a(x)).relu() + net.b(h), a=nn.Linear(8, 8), b=nn.Linear(8, 8)), None),
    "gate": (
        Net(
            lambda net, x: net.c(net.a(x) * torch.sigmoid(net.b(x))),
            a=nn.Linear(8, 8),
            b=nn.Linear(8, 8),
            c=nn.Linear(8, 8),
        ),
        None,
    ),
    "embedding": (
        Net(lambda net, x: net.b(net.e(x)), e=nn.Embedding(8, 8), b=nn.Linear(8, 8)),
        torch.randint(0, 8, (4, 3)),
    ),
    "head of a pyramid": (
        Net(
            lambda net, x: net.head(net.fine(x)).relu().mean() + net.head(net.coarse(x[..., ::2, ::2])).relu().mean(),
            fine=nn.Conv2d(8, 8, 3),
            coarse=nn.Conv2d(8, 8, 3),
            head=nn.Conv2d(8, 8, 3),
        ),
        IMAGE,
    ),
    "returned too": (Net(lambda net, x: (h := net.a(x), net.b(h)), a=nn.Linear(8, 8), b=nn.Linear(8, 8)), None),
}


@pytest.mark.parametrize("case", DESIGNS)
def test_designs(case):
    model, inputs = DESIGNS[case]
    assert not findings("ARC005", model, inputs)


def test_a_convolution_read_out_by_a_linear_layer():
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(512, 3))
    assert levels("ARC005", model, IMAGE) == {"0": "warning"}


class Conditioned(nn.Module):
    """A condition that each of three layers projects for itself."""

    def __init__(self, between, width=32, outputs=32):
        super().__init__()
        torch.manual_seed(0)
        self.condition, self.between = nn.Linear(20, width), between
        self.projections = nn.ModuleList(nn.Linear(width, outputs) for _ in range(3))
        self.first, self.last = nn.Linear(20, outputs), nn.Linear(outputs, 5)

    def forward(self, x):
        condition, h = self.between(self.condition(x)), torch.relu(self.first(x))
        for projection in self.projections:
            h = torch.relu(h + projection(condition))
        return self.last(h)


def test_a_linear_layer_that_feeds_several_is_reported_once():
    assert levels("ARC005", Conditioned(lambda c: c), torch.randn(16, 20)) == {"condition": "warning"}


@pytest.mark.parametrize(
    "model",
    [
        Conditioned(torch.nn.functional.silu),
        Conditioned(lambda c: c * c),
        Conditioned(lambda c: c, width=8),
    ],
    ids=["activation", "square", "low rank"],
)
def test_several_readers_with_a_reason(model):
    assert levels("ARC005", model, torch.randn(16, 20)) == {}


def test_queries_and_keys_of_a_projected_input():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter, self.query, self.key, self.value = nn.Linear(20, 32), *(nn.Linear(32, 32) for _ in range(3))
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            h = self.enter(x)
            mixed = nn.functional.scaled_dot_product_attention(self.query(h), self.key(h), self.value(h))
            return self.head(torch.relu(mixed.mean(1)))

    assert levels("ARC005", Attention(), torch.randn(16, 7, 20)) == {}


def test_a_score_convolution_before_a_transposed_one():
    features = nn.Sequential(nn.Conv2d(8, 32, 3, padding=1), nn.ReLU())
    model = nn.Sequential(features, nn.Conv2d(32, 5, 1), nn.ConvTranspose2d(5, 5, 4, 2, 1))
    assert levels("ARC005", model, IMAGE) == {}
