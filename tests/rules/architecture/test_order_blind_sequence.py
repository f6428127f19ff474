"""ARC021 order-blind-sequence: attention over a sequence without any positional information."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nnlint
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


class Tagger(nn.Module):
    """A tagger that computes its own loss, one label for each token."""

    def __init__(self, *, positions: bool, causal: bool = False):
        super().__init__()
        self.embed, self.layer, self.fc, self.causal = nn.Embedding(20, 8), encoder(dropout=0.0), nn.Linear(8, 5), causal
        self.where = nn.Parameter(torch.randn(7, 8)) if positions else None

    def forward(self, input_ids, attention_mask, labels):
        x = self.embed(input_ids)
        x = x if self.where is None else x + self.where
        mask = nn.Transformer.generate_square_subsequent_mask(7) if self.causal else None
        logits = self.fc(self.layer(x, src_mask=mask, src_key_padding_mask=~attention_mask if mask is None else None))
        return {"loss": F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100), "logits": logits}


@pytest.mark.parametrize(
    ("model", "codes"),
    [(Tagger(positions=False), {"ARC021"}), (Tagger(positions=True), set()), (Tagger(positions=False, causal=True), set())],
    ids=["without positions", "with positions", "causal"],
)
def test_labels_among_the_inputs_move_with_their_tokens(model, codes) -> None:
    mask = torch.arange(7) < torch.tensor([7, 5, 6, 4] * 4)[:, None]
    labels = (ids(16, 7) % 5).masked_fill(~mask, -100)
    inputs = {"input_ids": ids(16, 7).masked_fill(~mask, 0), "attention_mask": mask, "labels": labels}
    (result,) = nnlint.check({"model": model, "inputs": inputs}, select=["ARC021"]).results
    assert {finding.code for finding in result.findings if finding.level.value == "warning"} == codes
    assert not result.skipped


class Patches(nn.Module):
    """A vision transformer that reads out a class token; positions and token start at zero, as in DeiT."""

    def __init__(self, positions: nn.Parameter | None) -> None:
        super().__init__()
        self.patches, self.layers, self.fc = nn.Conv2d(3, 8, 4, 4), nn.ModuleList([encoder(), encoder()]), nn.Linear(8, 5)
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, 8)), positions
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, x):
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)], 1)
        x = x if self.positions is None else x + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.fc(x[:, 0])


@pytest.mark.parametrize(
    ("positions", "codes"),
    [
        (lambda: nn.Parameter(torch.zeros(1, 17, 8)), set()),
        (lambda: nn.Parameter(torch.randn(1, 17, 8)), set()),
        (lambda: nn.Parameter(torch.zeros(1, 1, 8)), {"ARC021"}),
        (lambda: nn.Parameter(torch.zeros(1, 17, 8), requires_grad=False), {"ARC021"}),
        (lambda: None, {"ARC021"}),
    ],
    ids=["from zero", "drawn", "one for all", "zeros that stay", "none"],
)
def test_positions_that_start_at_zero_are_positions(positions, codes) -> None:
    torch.manual_seed(0)
    batch = {"inputs": torch.randn(8, 3, 16, 16), "targets": torch.arange(8) % 5}
    case = {"model": Patches(positions()), **batch, "loss": nn.CrossEntropyLoss()}
    before = {name: tensor.clone() for name, tensor in case["model"].state_dict().items()}
    assert {finding.code for finding in nnlint.check(case, select=["ARC021"]).findings} == codes
    assert all(torch.equal(tensor, before[name]) for name, tensor in case["model"].state_dict().items())
