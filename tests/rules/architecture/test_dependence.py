"""ARC008, ARC009, ARC018, ARC021: what may depend on what, and what is meant to."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nnlint

CODES = ("ARC008", "ARC009", "ARC018", "ARC021")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Functional(nn.Module):
    """A forward written as a function of the module and the inputs."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def rand(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def ids(*shape, high=20):
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(1))


def report(function, inputs, *, targets=None, select=CODES, **parts):
    fields = {key: parts.pop(key) for key in ("declared", "causal", "loss") if key in parts}
    if targets is not None:
        fields = {"targets": targets, "loss": nn.CrossEntropyLoss()} | fields
    torch.manual_seed(0)
    model = Functional(function, **parts)
    return nnlint.check({"model": model, "inputs": inputs, **fields}, select=list(select)).results[0]


def found(*args, **kwargs):
    result = report(*args, **kwargs)
    assert result.status == "ok"
    return {(item.code, item.level.value): item for item in result.findings}


# -------------------------------------------------------------------- ARC008


def centred(net, x):
    h = net.fc(x)
    return h - h.mean(0)


def test_mixing_is_an_error_with_its_place() -> None:
    item = found(centred, rand(16, 12), targets=ids(16, high=5), fc=nn.Linear(12, 5))["ARC008", "error"]
    assert "mean" in item.message
    assert item.location is not None
    assert item.location.file.endswith("test_dependence.py")
    assert item.evidence["influence"] > item.evidence["limit"]


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


# -------------------------------------------------------------------- ARC009


def last(net, x):
    out = net.rnn(x)
    return net.fc((out[0] if isinstance(out, tuple) else out)[:, -1])


@pytest.mark.parametrize(
    "rnn",
    [nn.LSTM(8, 8), nn.GRU(8, 8, 2), nn.RNN(8, 8, bidirectional=False)],
    ids=["LSTM", "GRU", "RNN"],
)
def test_recurrent_layers_along_the_batch(rnn) -> None:
    items = found(last, rand(16, 6, 8), targets=ids(16, high=5), rnn=rnn, fc=nn.Linear(8, 5))
    assert set(items) == {("ARC009", "error")}
    assert items["ARC009", "error"].module == "rnn"


def test_attention_along_the_batch() -> None:
    def attend(net, x):
        return net.fc(net.attention(x, x, x)[0].mean(1))

    items = found(
        attend, rand(16, 6, 8), targets=ids(16, high=5), attention=nn.MultiheadAttention(8, 2), fc=nn.Linear(8, 5)
    )
    assert items["ARC009", "error"].module == "attention"


def test_decoder_layers_along_the_batch() -> None:
    layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0)

    def decode(net, x):
        return net.fc(net.layer(x, x)[:, 0])

    items = found(decode, rand(16, 6, 8), targets=ids(16, high=5), layer=layer, fc=nn.Linear(8, 5))
    assert items["ARC009", "error"].module == "layer.self_attn"


def transposed_attention(net, x):
    x = x.transpose(0, 1)
    return net.fc(net.rnn(x, x, x)[0][-1])


@pytest.mark.parametrize(
    ("function", "inputs", "targets", "rnn"),
    [
        (last, rand(16, 6, 8), ids(16, high=5), nn.LSTM(8, 8, batch_first=True)),
        (lambda net, x: net.fc(net.rnn(x)[0][-1]), rand(6, 16, 8), ids(16, high=5), nn.LSTM(8, 8)),
        (lambda net, x: net.fc(net.rnn(x.transpose(0, 1))[0][-1]), rand(16, 6, 8), ids(16, high=5), nn.LSTM(8, 8)),
        (transposed_attention, rand(16, 6, 8), ids(16, high=5), nn.MultiheadAttention(8, 2)),
    ],
    ids=["batch first", "time-major data", "transposed", "transposed attention"],
)
def test_layouts_that_fit(function, inputs, targets, rnn) -> None:
    assert not found(function, inputs, targets=targets, rnn=rnn, fc=nn.Linear(8, 5))


def test_unknown_layout_is_an_info_and_declared_time_major_silent() -> None:
    def every(net, x):
        return net.fc(net.rnn(x)[0])

    parts = {"rnn": nn.LSTM(8, 8), "fc": nn.Linear(8, 5)}
    assert set(found(every, rand(7, 16, 8), **parts)) == {("ARC009", "info")}
    assert not found(every, rand(7, 16, 8), declared=("time-major",), **parts)


def own_loss(net, x, targets):
    """A model that returns its loss: no output has an axis of samples."""
    return F.cross_entropy(net.head(net.rnn(x)[0][:, -1]), targets)


def test_a_layer_inside_a_model_that_returns_its_loss() -> None:
    inputs = (rand(16, 1, 8).expand(16, 6, 8) + rand(16, 6, 8), ids(16, high=5))
    parts = {"loss": lambda value: value, "head": nn.Linear(12, 5)}
    wrong = found(own_loss, inputs, rnn=nn.GRU(8, 12), **parts)
    assert [(code, item.module) for (code, _), item in wrong.items()] == [("ARC009", "rnn")]
    assert found(own_loss, inputs, rnn=nn.GRU(8, 12, batch_first=True), **parts) == {}


def test_a_transposed_input_inside_a_model_that_returns_its_loss() -> None:
    def transposed(net, x, targets):
        return F.cross_entropy(net.head(net.rnn(x.transpose(0, 1))[0][-1]), targets)

    inputs = (rand(16, 6, 8), ids(16, high=5))
    assert found(transposed, inputs, loss=lambda value: value, rnn=nn.GRU(8, 12), head=nn.Linear(12, 5)) == {}


# -------------------------------------------------------------------- ARC018


def attend(net, x, mask=None):
    scores = x @ x.transpose(1, 2) / math.sqrt(x.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask, float("-inf"))
    return net.fc(scores.softmax(dim=-1) @ x)


FUTURE = torch.ones(10, 10, dtype=torch.bool).triu(1)


def test_a_leak_is_an_error_only_where_causality_is_declared() -> None:
    items = found(attend, rand(16, 10, 8), causal=True, fc=nn.Linear(8, 5))
    assert "softmax" in items["ARC018", "error"].message
    assert not any(code == "ARC018" for code, _ in found(attend, rand(16, 10, 8), fc=nn.Linear(8, 5)))


@pytest.mark.parametrize("mask", [FUTURE.t(), FUTURE.triu(2), FUTURE & ~torch.eye(10, dtype=torch.bool).roll(1, 1)])
def test_wrong_masks(mask) -> None:
    mask = mask & ~torch.eye(10, dtype=torch.bool)
    assert ("ARC018", "error") in found(
        lambda net, x: attend(net, x, mask), rand(16, 10, 8), causal=True, fc=nn.Linear(8, 5)
    )


def test_the_right_mask() -> None:
    assert not found(lambda net, x: attend(net, x, FUTURE), rand(16, 10, 8), causal=True, fc=nn.Linear(8, 5))


def test_without_a_time_axis_it_is_skipped() -> None:
    result = report(lambda net, x: net.fc(x), rand(16, 8), causal=True, fc=nn.Linear(8, 5))
    assert "ARC018" in {item.code for item in result.skipped}


# -------------------------------------------------------------------- ARC021


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
