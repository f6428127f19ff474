"""ARC021 order-blind-sequence: attention over a sequence without any positional information."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.rules.architecture.dependence import found, ids, rand


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def encoder(**options):
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)


def classify(net, x):
    return net.fc(net.layer(net.embed(x)).mean(1))


def test_tokens_without_positions() -> None:
    parts = {"embed": nn.Embedding(20, 8), "layer": encoder(), "fc": nn.Linear(8, 5)}
    assert set(found(classify, ids(16, 7), **parts)) == {("ARC021", "warning")}
    assert not found(classify, ids(16, 7), declared=("set-input",), **parts)


def test_the_rest_has_an_order_even_where_the_first_position_is_read_out() -> None:
    parts = {"embed": nn.Embedding(20, 8), "layer": encoder(), "fc": nn.Linear(8, 5)}
    read_out = lambda net, x: net.fc(net.layer(net.embed(x))[:, 0])  # noqa: E731
    assert set(found(read_out, ids(16, 7), **parts)) == {("ARC021", "warning")}


def test_features_that_are_lifted_first_count_and_bare_ones_may_hold_their_positions() -> None:
    parts = {"layer": encoder(), "fc": nn.Linear(8, 5)}
    lifted = found(classify, rand(16, 7, 6), embed=nn.Linear(6, 8), **parts)
    assert set(lifted) == {("ARC021", "warning")}
    assert set(found(classify, rand(16, 7, 3), embed=nn.Linear(3, 8), **parts)) == {("ARC021", "info")}
    assert set(found(classify, rand(16, 7, 8), embed=nn.Identity(), **parts)) == {("ARC021", "info")}


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: net.fc(net.layer(net.embed(x) + net.where).mean(1)),
        lambda net, x: net.fc(net.layer(net.embed(x) + net.zeros).mean(1)),
        lambda net, x: net.fc(net.layer(net.rnn(net.embed(x))[0]).mean(1)),
        lambda net, x: net.fc(net.layer(net.conv(net.embed(x).transpose(1, 2)).transpose(1, 2)).mean(1)),
        lambda net, x: net.fc(net.layer(net.embed(x)).flatten(1)[:, -8:]),
        lambda net, x: net.fc(net.embed(x).mean(1)),
    ],
    ids=["learned positions", "positions from zero", "recurrent", "convolution", "last position", "no attention"],
)
def test_order_is_seen_or_does_not_matter(function) -> None:
    parts = {
        "embed": nn.Embedding(20, 8),
        "layer": encoder(),
        "fc": nn.Linear(8, 5),
        "where": nn.Parameter(rand(7, 8)),
        "zeros": nn.Parameter(torch.zeros(7, 8)),
        "rnn": nn.GRU(8, 8, batch_first=True),
        "conv": nn.Conv1d(8, 8, 3, padding=1),
    }
    assert not found(function, ids(16, 7), targets=ids(16, high=5), select=["ARC021"], **parts)


def test_mixing_without_a_place_is_a_warning_at_most() -> None:
    from nnlint.probes.dependence.samples import SampleMixing
    from nnlint_rules.architecture import batch_mixing

    known = dict.fromkeys(SampleMixing.__dataclass_fields__)
    placeless = SampleMixing(**{**known, "op": None, "settled": True, "pairwise": False})
    assert batch_mixing._level(placeless, "").value == "warning"


def time_major(net, x):
    """Attention over the first axis; the head reads each step."""
    return net.fc(net.layer(net.embed(x) + net.where[: len(x)]))


def by_hand(net, x):
    h = net.embed(x) + net.where[: len(x)]
    scores = torch.einsum("tbd,sbd->bts", h, h) / h.shape[-1] ** 0.5
    return net.fc(h + torch.einsum("bts,sbd->tbd", scores.softmax(-1), h))


def causal(net, x):
    h = (net.embed(x) + net.where[: len(x)]).transpose(0, 1)
    return net.fc(F.scaled_dot_product_attention(h, h, h, is_causal=True).transpose(0, 1))


@pytest.mark.parametrize("function", [time_major, by_hand, causal])
def test_an_axis_along_which_nothing_mixes_holds_samples(function) -> None:
    parts = {
        "embed": nn.Embedding(20, 8),
        "layer": nn.TransformerEncoderLayer(8, 2, 16),
        "fc": nn.Linear(8, 20),
        "where": nn.Parameter(rand(16, 1, 8)),
    }
    loss = lambda out, y: F.cross_entropy(out.flatten(0, 1), y)  # noqa: E731
    assert not found(function, ids(16, 7), targets=ids(16 * 7), loss=loss, select=["ARC021"], **parts)


def test_a_causal_tagger_without_positions_is_still_told() -> None:
    """A mask tells the order; without one every position sees all."""
    parts = {"embed": nn.Embedding(20, 8), "layer": encoder(), "fc": nn.Linear(8, 20)}
    tag = lambda net, x: net.fc(net.layer(net.embed(x)))  # noqa: E731
    assert set(found(tag, ids(16, 7), **parts)) == {("ARC021", "warning")}
