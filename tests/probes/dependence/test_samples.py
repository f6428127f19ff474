"""What depends on what: samples on samples, outputs on inputs, times on later times, and on the order."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nnlint.finding import Skip
from nnlint.probes.evaluation.first_difference import before_time, beyond_first_sample
from nnlint.samples import batch_layout
from tests.probes.sessions import session

CLASSES = 5


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

    def forward(self, *inputs, **named):
        return self.function(self, *inputs, **named)


def mixing(function, inputs, *, targets=True, **parts):
    fields = {key: parts.pop(key) for key in ("declared", "causal", "data") if key in parts}
    torch.manual_seed(0)
    model = Functional(function, **parts)
    if targets is True:
        first = inputs[0] if isinstance(inputs, tuple) else inputs
        targets = torch.randint(0, CLASSES, first.shape[:1])
    if targets is not None:
        fields |= {"targets": targets, "loss": fields.get("loss", nn.CrossEntropyLoss())}
    return session(model, inputs, **fields).evidence("Mixing")


def rand(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def ids(*shape, high=20):
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(1))


# -------------------------------------------------------------------- samples on samples


MIXES = {
    "mean": (lambda net, x: net.fc(x) - net.fc(x).mean(dim=0), "mean"),
    "norm": (lambda net, x: net.fc(x) / net.fc(x).norm(), "norm"),
    "softmax": (lambda net, x: net.fc(x).softmax(dim=0), "softmax"),
    "view": (lambda net, x: net.fc(x.t().reshape(x.shape[0], -1)), "linear"),
    "roll": (lambda net, x: net.fc(x).roll(1, dims=0), "roll"),
    "cumulative": (lambda net, x: net.fc(x).cumsum(dim=0), "cumsum"),
    "attention": (lambda net, x: net.fc(F.scaled_dot_product_attention(x, x, x)), "scaled_dot_product_attention"),
    "batch statistics": (lambda net, x: F.batch_norm(net.fc(x), None, None, training=True), "batch_norm"),
}


@pytest.mark.parametrize("name", MIXES)
def test_mixing_names_its_op(name) -> None:
    function, op = MIXES[name]
    found = mixing(function, rand(16, 12), fc=nn.Linear(12, CLASSES)).samples
    assert found is not None
    assert found.op is not None
    assert found.op.name == op
    assert found.influence > 1e-3
    assert found.settled
    assert not found.pairwise


INDEPENDENT = {
    "linear": lambda net, x: net.fc(x),
    "own mean": lambda net, x: net.fc(x - x.mean(dim=1, keepdim=True)),
    "batch norm": lambda net, x: net.fc(net.norm(x)),
    "swapped and back": lambda net, x: net.fc(x.t().contiguous().t()),
    "folded": lambda net, x: net.fc(x.view(-1, 3, 4).repeat_interleave(2, 0).view(x.shape[0], 2, 12).mean(1)),
    "training only": lambda net, x: net.fc(x - x.mean(dim=0)) if net.training else net.fc(x),
    "auxiliary loss": lambda net, x: {"logits": net.fc(x), "balance": net.fc(x).softmax(1).mean(0).square().sum()},
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_samples(name) -> None:
    parts = {"fc": nn.Linear(12, CLASSES), "norm": nn.BatchNorm1d(12)}
    assert mixing(INDEPENDENT[name], rand(16, 12), targets=None, **parts).samples is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype) -> None:
    fc = nn.Linear(12, CLASSES).to(dtype)
    assert mixing(lambda net, x: net.fc(x), rand(16, 12).to(dtype), targets=None, fc=fc).samples is None
    found = mixing(lambda net, x: net.fc(x - x.mean(0)), rand(16, 12).to(dtype), targets=None, fc=fc).samples
    assert found is not None


def test_the_gradient_sees_what_replacement_cannot() -> None:
    """Rounded outputs do not move when one of the samples does."""

    def faint(net, x):
        y = net.fc(x)
        return y + 1e-4 * (y.mean(0) - y.mean(0).detach())  # no value, only a gradient

    found = mixing(faint, rand(16, 12), fc=nn.Linear(12, CLASSES)).samples
    assert found is not None
    assert found.influence < 1e-5 < found.gradient


def test_a_plain_sum_would_see_nothing() -> None:
    """The outputs of a softmax over the batch sum to one: the projection is random."""
    found = mixing(lambda net, x: net.fc(x).softmax(dim=0), rand(16, 12), fc=nn.Linear(12, CLASSES)).samples
    assert found is not None
    assert found.gradient > 1e-3


def test_integer_inputs() -> None:
    def centred(net, x):
        h = net.embed(x).mean(1)
        return net.fc(h - h.mean(0))

    parts = {"embed": nn.Embedding(20, 8), "fc": nn.Linear(8, CLASSES)}
    found = mixing(centred, ids(16, 7), **parts).samples
    assert found is not None
    assert found.gradient is None
    assert found.op.name == "mean"


def test_a_zero_head_is_looked_at_after_a_step() -> None:
    def centred(net, x):
        h = net.fc(x)
        return net.head(h - h.mean(0))

    head = nn.Linear(8, CLASSES)
    nn.init.zeros_(head.weight)
    assert mixing(centred, rand(16, 12), fc=nn.Linear(12, 8), head=head).samples is not None
    healthy = mixing(lambda net, x: net.head(net.fc(x)), rand(16, 12), fc=nn.Linear(12, 8), head=head)
    assert healthy.samples is None


def test_pairwise_outputs_are_told_from_as_many_classes() -> None:
    def contrast(net, x):
        h = F.normalize(net.fc(x), dim=1)
        return h @ h.t()

    found = mixing(contrast, rand(16, 12), targets=None, fc=nn.Linear(12, 8)).samples
    assert found is not None
    assert found.pairwise
    found = mixing(lambda net, x: net.fc(x - x.mean(0)), rand(16, 12), targets=None, fc=nn.Linear(12, 4)).samples
    assert found is not None
    assert not found.pairwise


@pytest.mark.parametrize("layers", [2, 4])
def test_outputs_with_as_many_layers_as_samples_are_not_taken_for_batched(layers) -> None:
    def stacked(net, x):
        h = net.fc(x)
        return h, torch.stack([h * number for number in range(1, layers + 1)])

    assert mixing(stacked, rand(16, 12), targets=None, fc=nn.Linear(12, CLASSES)).samples is None


def test_skips() -> None:
    fc = nn.Linear(12, CLASSES)
    with pytest.raises(Skip, match="all samples of the batch are equal"):
        _ = mixing(lambda net, x: net.fc(x), torch.ones(16, 12), fc=fc).samples
    with pytest.raises(Skip, match="no output has the batch"):
        _ = mixing(lambda net, x: net.fc(x).sum(), rand(16, 12), targets=None, fc=fc).samples
    with pytest.raises(Skip, match="single sample"):
        mixing(lambda net, x: net.fc(x), rand(1, 12), fc=fc)
    with pytest.raises(Skip, match="single sample"):
        mixing(lambda net, images: net.fc(torch.stack(images)), ([rand(12), rand(12)],), targets=None, fc=fc)
    with pytest.raises(Skip, match="nodes of a graph"):
        _ = mixing(
            lambda net, x, edges: net.fc(x.index_add(0, edges[0], x[edges[1]])),
            (rand(16, 12), ids(2, 30, high=16)),
            fc=fc,
        ).samples


def test_adjacency_matrices_and_tables_that_are_square() -> None:
    def convolve(net, x, other):
        return net.fc(other @ x) if net.graph else net.fc(x) + other.sum(1, keepdim=True)

    adjacency = (rand(16, 16) > 1).float()
    with pytest.raises(Skip, match="nodes of a graph"):
        _ = mixing(convolve, (rand(16, 12), adjacency), fc=nn.Linear(12, CLASSES), graph=True).samples
    assert mixing(convolve, (rand(16, 12), rand(16, 16)), fc=nn.Linear(12, CLASSES), graph=False).samples is None


# -------------------------------------------------------------------- the axis of the samples


def layout(inputs, **fields):
    return batch_layout(session(nn.Identity(), inputs, **fields).setup)


@pytest.mark.parametrize(
    ("inputs", "fields", "expected"),
    [
        (rand(8, 5), {}, (8, False)),
        (rand(8, 5), {"targets": ids(8)}, (8, True)),
        (rand(7, 8, 5), {"targets": ids(8)}, (8, True)),
        (rand(7, 8, 5), {"targets": ids(7, 8)}, (7, False)),
        (rand(7, 8, 5), {"targets": ids(56)}, (7, False)),
        (rand(8, 8, 5), {"targets": ids(8)}, (8, False)),
        (rand(8, 5), {"targets": rand(8, 1)}, (8, True)),
        ((rand(5, 8, 4), rand(9, 8, 4)), {}, (8, True)),
        ((rand(8, 4), rand(8, 6)), {}, (8, False)),
        (rand(7, 8, 5), {"declared": {"time-major"}}, (8, True)),
        (rand(7, 8, 5), {"data": torch.utils.data.DataLoader(list(range(9)), batch_size=8)}, (8, True)),
        (([rand(3, 4, 4), rand(3, 5, 5)],), {}, (1, True)),
    ],
)
def test_batch_layout(inputs, fields, expected) -> None:
    found = layout(inputs, **fields)
    assert (found.samples, found.settled) == expected


def test_time_major_data_do_not_mix() -> None:
    def last(net, x):
        return net.fc(net.rnn(x)[0][-1])

    parts = {"rnn": nn.GRU(6, 8), "fc": nn.Linear(8, CLASSES)}
    assert mixing(last, rand(7, 16, 6), targets=ids(16, high=CLASSES), **parts).samples is None


def test_an_unsettled_layout_is_said() -> None:
    def every(net, x):
        return net.rnn(x)[0]

    found = mixing(every, rand(7, 16, 6), targets=None, rnn=nn.GRU(6, 8)).samples
    assert found is not None
    assert not found.settled
    both = mixing(lambda net, x: net.rnn(x)[0].cumsum(1), rand(7, 16, 6), targets=None, rnn=nn.GRU(6, 8)).samples
    assert both is not None
    assert both.settled  # whichever axis holds the samples, they are mixed


# -------------------------------------------------------------------- where changes are


def flags(shape, *changed):
    made = torch.zeros(shape, dtype=torch.bool)
    for index in changed:
        made[index] = True
    return made


@pytest.mark.parametrize(
    ("changed", "beyond"),
    [
        (flags((4, 3)), False),
        (flags((4, 3), 0), False),
        (flags((4, 3), 1), True),
        (flags((3, 4), (slice(None), 0)), False),
        (flags((8, 3), 0, 1), False),
        (flags((8, 3), 0, 4), False),
        (flags((8, 3), 0, 3), True),
        (flags(()) | True, True),
    ],
)
def test_beyond_first_sample(changed, beyond) -> None:
    assert beyond_first_sample(4)(changed) is beyond


@pytest.mark.parametrize(
    ("changed", "before"),
    [
        (flags((2, 6, 3), (slice(None), slice(3, None))), False),
        (flags((2, 6, 3), (slice(None), slice(2, None))), True),
        (flags((2, 7, 3), (slice(None), slice(4, None))), False),
        (flags((12, 4), 3, 4, 5, 9, 10, 11), False),
        (flags((12, 4), 6, 7, 8, 9, 10, 11), False),
        (flags((12, 4), 2), True),
        (flags((2, 6, 6), (slice(None), slice(None), slice(3, None))), False),
    ],
)
def test_before_time(changed, before) -> None:
    assert before_time(3, 6)(changed) is before


# -------------------------------------------------------------------- outputs on inputs


def influence(function, inputs, **parts):
    return {found.name: found for found in mixing(function, inputs, **parts).inputs}


def test_an_input_that_is_not_used() -> None:
    found = influence(lambda net, x, y: net.fc(x), (rand(16, 12), rand(16, 3)), fc=nn.Linear(12, CLASSES))
    assert [item.matters for item in found.values()] == [True, False]


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x, y: net.fc(x) + net.extra(y),
        lambda net, x, y: net.fc(x) + (y > 0).float().sum(1, keepdim=True),
        lambda net, x, y: net.fc(x) + net.zero(y),
        lambda net, x, y: net.fc(x) + net.extra(y) if net.training else net.fc(x),
        lambda net, x, y: net.fc(x) + net.extra(y).round(),
        lambda net, x, y: net.fc(x) + (net.extra(y) - 1e3).relu() + 1e-3 * y.sum(1, keepdim=True).detach(),
    ],
    ids=["sum", "comparison", "zero-initialized", "training only", "rounded", "detached"],
)
def test_inputs_that_matter(function) -> None:
    zero = nn.Linear(3, CLASSES)
    nn.init.zeros_(zero.weight)
    parts = {"fc": nn.Linear(12, CLASSES), "extra": nn.Linear(3, CLASSES), "zero": zero}
    found = influence(function, (rand(16, 12), rand(16, 3)), **parts)
    assert all(item.matters for item in found.values())


def test_a_mask_without_effect_and_one_with() -> None:
    def encode(net, x, mask):
        return net.fc(net.attention(x, x, x, key_padding_mask=mask if net.uses else None)[0].mean(1))

    mask = torch.arange(6) >= ids(16, 1, high=4) + 2
    parts = {"attention": nn.MultiheadAttention(8, 2, batch_first=True), "fc": nn.Linear(8, CLASSES)}
    for uses in (True, False):
        found = influence(encode, (rand(16, 6, 8), mask), uses=uses, **parts)
        assert found["input1"].is_mask or found["mask"].is_mask if "mask" in found else True
        assert found[list(found)[1]].matters is uses


def test_a_mask_of_ones_says_nothing() -> None:
    found = influence(
        lambda net, x, mask: net.fc(x), (rand(16, 12), torch.ones(16, 12, dtype=torch.bool)), fc=nn.Linear(12, CLASSES)
    )
    assert list(found.values())[1].constant


def ignored(function, inputs, **parts):
    found = next(iter(influence(function, inputs, **parts).values()))
    return {item.axis: item.indices for item in found.ignored}


def test_features() -> None:
    fc = nn.Linear(10, CLASSES)
    assert ignored(lambda net, x: net.fc(x[:, 2:]), rand(16, 12), fc=fc) == {1: (0, 1)}
    assert ignored(lambda net, x: net.fc(x[:, :10]), rand(16, 12), fc=fc) == {1: (10, 11)}
    assert ignored(lambda net, x: net.fc(x), rand(16, 10), fc=fc) == {}


def test_channels_and_rows() -> None:
    conv = nn.Sequential(nn.Conv2d(2, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES))
    assert ignored(lambda net, x: net.conv(x[:, 1:]), rand(8, 3, 9, 9), conv=conv) == {1: (0,)}
    assert ignored(lambda net, x: net.conv(x), rand(8, 2, 10, 10), conv=conv) == {2: (9,), 3: (9,)}


def test_features_that_only_a_gradient_misses() -> None:
    def hidden(net, x):
        return net.fc(x[:, :10]) + (x[:, 10:] > 0).sum(1, keepdim=True)

    assert ignored(hidden, rand(16, 12), fc=nn.Linear(10, CLASSES)) == {}


def test_a_column_that_starts_with_zero_weights() -> None:
    fc = nn.Linear(12, CLASSES)
    with torch.no_grad():
        fc.weight[:, 3] = 0.0
    assert ignored(lambda net, x: net.fc(x), rand(16, 12), fc=fc) == {}


def test_padding_is_not_judged() -> None:
    x = rand(16, 12)
    x[:, 9:] = 0.0
    assert ignored(lambda net, x: net.fc(x[:, :9]), x, fc=nn.Linear(9, CLASSES)) == {}


def test_a_model_that_changes_its_input_in_place() -> None:
    found = influence(lambda net, x: net.fc(x.mul_(2.0)), rand(16, 12), fc=nn.Linear(12, CLASSES))
    assert next(iter(found.values())).matters


# -------------------------------------------------------------------- times on later times


def attend(net, x, *, causal):
    return net.fc(F.scaled_dot_product_attention(x, x, x, is_causal=causal))


LEAKS = {
    "attention": (lambda net, x: attend(net, x, causal=False), "scaled_dot_product_attention"),
    "convolution": (lambda net, x: net.conv(x.transpose(1, 2)).transpose(1, 2), "conv1d"),
    "mean": (lambda net, x: net.fc(x - x.mean(dim=1, keepdim=True)), "mean"),
    "one step": (lambda net, x: net.fc(x.roll(-1, dims=1)), "roll"),
    "bidirectional": (lambda net, x: net.rnn(x)[0], "gru"),
}
CAUSAL = {
    "attention": lambda net, x: attend(net, x, causal=True),
    "convolution": lambda net, x: net.conv(F.pad(x.transpose(1, 2), (2, 0)))[..., 1:-1].transpose(1, 2),
    "recurrent": lambda net, x: net.forwards(x)[0],
    "shift": lambda net, x: net.fc(x.roll(1, dims=1) * (torch.arange(x.shape[1]) > 0)[:, None]),
    "cumulative": lambda net, x: net.fc(x.cumsum(dim=1)),
}


def sequence_parts():
    return {
        "fc": nn.Linear(8, CLASSES),
        "conv": nn.Conv1d(8, CLASSES, 3, padding=1),
        "rnn": nn.GRU(8, 4, bidirectional=True, batch_first=True),
        "forwards": nn.GRU(8, 4, batch_first=True),
    }


@pytest.mark.parametrize("name", LEAKS)
def test_leaks_are_found_and_named(name) -> None:
    function, op = LEAKS[name]
    found = mixing(function, rand(16, 10, 8), targets=None, **sequence_parts()).future
    assert found is not None
    assert found.op is not None
    assert found.influence > 1e-5
    assert found.op.name == op


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_models(name) -> None:
    found = mixing(CAUSAL[name], rand(16, 10, 8), targets=None, **sequence_parts()).future
    assert found is not None
    assert found.influence <= 1e-5
    assert found.op is None


def test_a_decoder_may_see_all_of_its_source() -> None:
    def decode(net, source, tgt):
        return net.fc(F.scaled_dot_product_attention(tgt, tgt, tgt, is_causal=True) + source.mean(1, keepdim=True))

    class Seq2Seq(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, CLASSES)

        def forward(self, source, tgt):
            return decode(self, source, tgt)

    found = session(Seq2Seq(), (rand(16, 10, 8), rand(16, 10, 8) + 1)).evidence("Mixing").future
    assert found is not None
    assert found.influence <= 1e-5


def test_no_time_axis() -> None:
    assert mixing(lambda net, x: net.fc(x), rand(16, 8), fc=nn.Linear(8, CLASSES)).future is None


# -------------------------------------------------------------------- order


def test_order() -> None:
    def bag(net, x):
        return net.fc(net.embed(x).mean(1))

    def positioned(net, x):
        return net.fc(torch.tanh(net.embed(x) + net.where).mean(1))

    parts = {"embed": nn.Embedding(20, 8), "where": nn.Parameter(torch.randn(7, 8)), "fc": nn.Linear(8, CLASSES)}
    found = mixing(bag, ids(16, 7), **parts).order
    assert found is not None
    assert found.change < 1e-5
    assert (found.length, found.tokens, found.width) == (7, True, 1)
    assert mixing(positioned, ids(16, 7), **parts).order.change > 1e-3


def test_positions_that_start_at_zero_are_looked_at_after_a_step() -> None:
    def positioned(net, x):
        return net.fc(torch.tanh(net.embed(x) + net.where).mean(1))

    parts = {"embed": nn.Embedding(20, 8), "where": nn.Parameter(torch.zeros(7, 8)), "fc": nn.Linear(8, CLASSES)}
    assert mixing(positioned, ids(16, 7), **parts).order.change > 1e-5


def test_positions_given_as_an_input_stay_in_place() -> None:
    def positioned(net, x, positions):
        return net.fc(torch.tanh(net.embed(x) + net.where(positions)).mean(1))

    parts = {"embed": nn.Embedding(20, 8), "where": nn.Embedding(7, 8), "fc": nn.Linear(8, CLASSES)}
    inputs = (ids(16, 7), torch.arange(7).expand(16, 7))
    assert mixing(positioned, inputs, **parts).order.change > 1e-3


@pytest.mark.parametrize("inputs", [rand(16, 12), rand(16, 3, 8, 8)], ids=["table", "images"])
def test_no_sequence(inputs) -> None:
    assert mixing(lambda net, x: x.flatten(1)[:, :CLASSES], inputs, targets=None).order is None


def latent(net, x):
    h = net.fc(x)
    return h + torch.randn_like(h) * h.exp()


def random_mask(net, x):
    return net.fc(x * (torch.rand_like(x) > 0.75))


def diffusion(net, x):
    time = torch.randint(1, 9, (len(x), 1)).float()
    return net.fc(x / time + torch.randn_like(x))


def dropped(net, x):
    return F.dropout(net.fc(x))


@pytest.mark.parametrize("forward", [latent, random_mask, diffusion, dropped])
def test_the_same_seed_tells_dependence_from_noise(forward):
    found = mixing(forward, rand(16, 12), fc=nn.Linear(12, 4))
    assert found.samples is None
    assert [influence.matters for influence in found.inputs] == [True]
    # What a seed masks seems to be ignored.
    assert all(not influence.ignored for influence in found.inputs)


@pytest.mark.parametrize("forward", [latent, random_mask, diffusion, dropped])
def test_mixing_is_found_below_noise(forward):
    found = mixing(lambda net, x: forward(net, x - x.mean(0)), rand(16, 12), fc=nn.Linear(12, 4)).samples
    assert found.influence > 1e-3


def numbers_by_values(net, x):
    kept = torch.zeros_like(x)
    kept[x > 0] = torch.randn(int((x > 0).sum()))
    return net.fc(x) + net.fc(kept)


def negatives(net, x):
    others = (torch.arange(len(x)) + torch.randint(1, len(x), (1,))) % len(x)
    return net.fc(x) - net.fc(x[others])


@pytest.mark.parametrize("forward", [numbers_by_values, negatives])
def test_noise_that_the_seed_does_not_hold_still_is_skipped(forward):
    with pytest.raises(Skip, match="evaluation mode is random"):
        _ = mixing(forward, rand(16, 12), fc=nn.Linear(12, 4)).samples
