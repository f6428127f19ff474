"""ARC029: views that mix axes, and views that only look as if they did."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings

IMAGES = torch.randn(4, 3, 10, 10)
SEQUENCES = torch.randn(4, 6, 15)
LABELS = torch.tensor([0, 1, 2, 0])


def features(width=20):
    return nn.Conv2d(3, width, 3, 2, 1)


def tokens_by_view(net, x):
    f = net.conv(x)
    n, c, h, w = f.shape
    return net.head(f.view(n, h * w, c).mean(1))


def tokens_by_view_then_attention(net, x):
    f = net.conv(x)
    f = torch.relu(f).reshape(len(f), -1, f.shape[1])
    return net.head(net.attention(f, f, f)[0].mean(1))


def heads_by_view(net, x):
    n, length, width = x.shape
    q, k, v = (part.reshape(n, 3, length, width // 3) for part in net.qkv(x).chunk(3, -1))
    mixed = F.scaled_dot_product_attention(q, k, v)
    return net.head(mixed.transpose(1, 2).flatten(2).mean(1))


def heads_by_view_then_matmul(net, x):
    n, length, width = x.shape
    q, k, v = (part.contiguous().view(n * 3, length, 5) for part in net.qkv(x).chunk(3, -1))
    weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)), -1)
    return net.head(torch.bmm(weights, v).view(n, length, width).mean(1))


def time_major_by_view(net, x):
    n, length, width = x.shape
    out, _ = net.rnn(x.view(length, n, width))
    return net.head(out[-1])


def columns_by_view(net, x):
    """Text reading: (N, C, H, W) to (N, W, C * H)."""
    f = net.conv(x)
    n, c, h, w = f.shape
    out, _ = net.rnn(f.view(n, w, c * h))
    return net.head(out[:, -1])


def quantized_rows(net, x):
    f = net.conv(x)
    rows = f.reshape(-1, f.shape[1])
    ids = torch.cdist(rows, net.codes).argmin(1)
    return net.head(F.embedding(ids, net.codes).view(len(x), -1).mean(1, keepdim=True))


def wrong_unfold_of_time(net, x):
    """Frames went into the batch as (time, batch) and come out as (batch, time)."""
    n, length, width = x.shape
    frames = torch.tanh(net.frame(x.transpose(0, 1).reshape(length * n, width)))
    return net.head(net.rnn(frames.view(n, length, -1))[1][0])


def video_by_view(net, x):
    f = net.conv(x.unsqueeze(1))  # (N, C, T, H, W)
    n, c, t, h, w = f.shape
    frames = net.places(f.view(n * t, c, h, w)).mean((2, 3))
    return net.head(frames.view(n, t, -1).mean(1))


def by_functional(net, x):
    f = net.conv(x)
    return net.head(torch.reshape(f, (f.size(0), f.size(2) * f.size(3), f.size(1))).amax(1))


def through_norm(net, x):
    f = net.conv(x)
    tokens = F.layer_norm(f.reshape(len(f), 25, 20), (20,))
    return net.head(F.gelu(net.mlp(tokens)).mean(1))


def by_unflatten(net, x):
    f = net.conv(x).flatten(1).unflatten(1, (25, 20))
    return net.head(f.mean(1))


def both_ways_by_view(net, x):
    """The states of both directions: (2, N, F) viewed as (N, 2 * F)."""
    return net.head(net.rnn(x)[1].view(len(x), -1))


def transposed_by_view(net, x):
    return net.head(net.conv(x.view(len(x), 15, 6)).mean(2))


def heads_not_turned_back(net, x):
    q, k, v = (part.unflatten(-1, (3, 5)).transpose(1, 2) for part in net.qkv(x).chunk(3, -1))
    return net.head(F.scaled_dot_product_attention(q, k, v).reshape(x.shape).mean(1))


def patches_by_view(net, x):
    return net.head(net.embed(x.view(len(x), 4, 75)).mean(1))


FAULTY = [
    (
        both_ways_by_view,
        SEQUENCES,
        {"rnn": nn.GRU(15, 7, batch_first=True, bidirectional=True), "head": nn.Linear(14, 3)},
    ),
    (transposed_by_view, SEQUENCES, {"conv": nn.Conv1d(15, 8, 3), "head": nn.Linear(8, 3)}),
    (heads_not_turned_back, SEQUENCES, {"qkv": nn.Linear(15, 45), "head": nn.Linear(15, 3)}),
    (patches_by_view, IMAGES, {"embed": nn.Linear(75, 8), "head": nn.Linear(8, 3)}),
    (tokens_by_view, IMAGES, {"conv": features(), "head": nn.Linear(20, 3)}),
    (
        tokens_by_view_then_attention,
        IMAGES,
        {"conv": features(), "attention": nn.MultiheadAttention(20, 2, batch_first=True), "head": nn.Linear(20, 3)},
    ),
    (heads_by_view, SEQUENCES, {"qkv": nn.Linear(15, 45), "head": nn.Linear(15, 3)}),
    (heads_by_view_then_matmul, SEQUENCES, {"qkv": nn.Linear(15, 45), "head": nn.Linear(15, 3)}),
    (time_major_by_view, SEQUENCES, {"rnn": nn.GRU(15, 8), "head": nn.Linear(8, 3)}),
    (columns_by_view, IMAGES, {"conv": features(7), "rnn": nn.LSTM(35, 8, batch_first=True), "head": nn.Linear(8, 3)}),
    (by_functional, IMAGES, {"conv": features(), "head": nn.Linear(20, 3)}),
    (through_norm, IMAGES, {"conv": features(), "mlp": nn.Linear(20, 20), "head": nn.Linear(20, 3)}),
    (by_unflatten, IMAGES, {"conv": features(), "head": nn.Linear(20, 3)}),
    (
        video_by_view,
        IMAGES,
        {"conv": nn.Conv3d(1, 7, (1, 3, 3)), "places": nn.Conv2d(7, 8, 3), "head": nn.Linear(8, 3)},
    ),
    (
        wrong_unfold_of_time,
        SEQUENCES,
        {"frame": nn.Linear(15, 8), "rnn": nn.GRU(8, 8, batch_first=True), "head": nn.Linear(8, 3)},
    ),
    (quantized_rows, IMAGES, {"conv": features(), "codes": nn.Parameter(torch.randn(9, 20)), "head": nn.Linear(1, 3)}),
]


@pytest.mark.parametrize(("forward", "inputs", "layers"), FAULTY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_mixture(forward, inputs, layers):
    (finding,) = findings("ARC029", Net(forward, **layers), inputs, loss=nn.CrossEntropyLoss(), targets=LABELS)
    assert finding.level.value == "error"
    assert finding.evidence["mixed"]


# -------------------------------------------------------------------- the same shapes, in order


def tokens_by_permute(net, x):
    f = net.conv(x)
    n, c, h, w = f.shape
    return net.head(f.permute(0, 2, 3, 1).reshape(n, h * w, c).mean(1))


def flattened(net, x):
    return net.head(net.conv(x).view(len(x), -1))


def heads(net, x):
    n, length, width = x.shape
    q, k, v = (part.view(n, length, 3, width // 3).transpose(1, 2) for part in net.qkv(x).chunk(3, -1))
    mixed = F.scaled_dot_product_attention(q, k, v)
    return net.head(mixed.transpose(1, 2).reshape(n, length, width).mean(1))


def fused_heads(net, x):
    n, length, width = x.shape
    q, k, v = net.qkv(x).reshape(n, length, 3, 3, width // 3).permute(2, 0, 3, 1, 4)
    return net.head(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2).mean(1))


def heads_in_the_batch(net, x):
    """fairseq's way: (time, batch, heads * width) viewed as (time, batch * heads, width)."""
    x = x.transpose(0, 1)
    length, n, width = x.shape
    q, k, v = (part.contiguous().view(length, n * 3, 5).transpose(0, 1) for part in net.qkv(x).chunk(3, -1))
    mixed = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v)
    return net.head(mixed.transpose(0, 1).contiguous().view(length, n, width).mean(0))


def patches(net, x):
    n = len(x)
    cut = x.reshape(n, 3, 2, 5, 2, 5).permute(0, 2, 4, 3, 5, 1).reshape(n, 4, 75)
    return net.head(net.embed(cut).mean(1))


def windows(net, x):
    f = net.conv(x).permute(0, 2, 3, 1)[:, :4, :4]
    n, h, w, c = f.shape
    cut = f.reshape(n, h // 2, 2, w // 2, 2, c).transpose(2, 3).reshape(-1, 4, c)
    cut = net.mix(cut)
    back = cut.view(n, h // 2, w // 2, 2, 2, -1).transpose(2, 3).reshape(n, h, w, -1)
    return net.head(back.mean((1, 2)))


def shuffled_channels(net, x):
    f = net.conv(x)
    n, c, h, w = f.shape
    f = f.view(n, 4, c // 4, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
    return net.head(net.grouped(f).mean((2, 3)))


def undone(net, x):
    """A norm over groups of values, written as a view and its inverse."""
    f = net.conv(x)
    flat = f.view(len(x), 25, 20)
    flat = (flat - flat.mean(2, keepdim=True)) / (flat.std(2, keepdim=True) + 1e-5)
    return net.head(flat.view(f.shape).mean((2, 3)))


def space_to_depth(net, x):
    f = net.conv(x)[:, :, :4, :4]
    n, c, h, w = f.shape
    f = f.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
    return net.head(net.grouped(f).mean((2, 3)))


def time_folded_into_the_batch(net, x):
    n, t, side = len(x), 3, 10
    frames = net.frames(x.reshape(n * t, 1, side, side)).mean((2, 3))
    return net.head(net.rnn(frames.view(n, t, -1))[1][0])


def stacked_frames(net, x):
    """Every second frame beside the one before it, as speech models do."""
    n, t, width = x.shape
    return net.head(net.embed(x.reshape(n, t // 2, 2 * width)).mean(1))


def relative_shift(net, x):
    q, k = net.qk(x).chunk(2, -1)
    scores = q @ k.transpose(1, 2)
    n, rows, columns = scores.shape
    shifted = torch.cat([scores.new_zeros(n, rows, 1), scores], -1).view(n, columns + 1, rows)[:, 1:].view_as(scores)
    return net.head(((scores + shifted).softmax(-1) @ x).mean(1))


def skewed_window(net, x):
    """Longformer's shift: padded by a row, then counted out with the sizes swapped."""
    scores = net.qk(x)
    padded = F.pad(scores, (0, 0, 0, 1))
    skewed = padded.view(len(x), padded.shape[2], padded.shape[1])
    return net.head(skewed[:, :15].transpose(1, 2).mean(2)[:, :1] * torch.ones(15))


def tokens_to_experts(net, x):
    flat = x.reshape(-1, x.shape[-1])
    gate = net.gate(flat).softmax(-1)
    out = sum(gate[:, i : i + 1] * expert(flat) for i, expert in enumerate(net.experts))
    return net.head(out.view(x.shape).mean(1))


def per_anchor(net, x):
    out = net.conv(x)
    n, _, h, w = out.shape
    boxes = out.view(n, 4, 5, h, w).permute(0, 3, 4, 1, 2).reshape(n, h * w * 4, 5)
    return net.head(boxes.mean(1))


def generated(net, x):
    """A generator: features counted out as a map."""
    return net.head(net.up(net.project(x.mean(1)).view(len(x), 20, 3, 3)).mean((2, 3)))


def language_model(net, x):
    return net.head(x).view(-1, 3)[::6]


def beams(net, x):
    n, t, width = x.shape
    wide = x.unsqueeze(1).expand(n, 2, t, width).reshape(2 * n, t, width)
    out = net.rnn(wide)[1][0]
    return net.head(out.view(n, 2, -1).amax(1))


def reshaped_weights(net, x):
    """A weight has no order of its own."""
    return net.head(x.mean(1) @ net.weight.view(3, 15, 5).permute(1, 0, 2).reshape(15, 15))


def unfolded(net, x):
    cut = F.unfold(x, 5, stride=5).transpose(1, 2)
    return net.head(net.embed(cut).mean(1)) + F.fold(net.embed(cut).transpose(1, 2), 10, 5, stride=5).mean()


def pixel_shuffled(net, x):
    return net.head(F.pixel_shuffle(net.conv(x), 2).flatten(2).transpose(1, 2).mean(1))


def drawn(net, x):
    noise = torch.randn(len(x), 15, 6).view(len(x), 6, 15)
    return net.head((x + noise).mean(1))


HEALTHY = [
    (tokens_by_permute, IMAGES, {"conv": features(), "head": nn.Linear(20, 3)}),
    (flattened, IMAGES, {"conv": features(), "head": nn.Linear(500, 3)}),
    (heads, SEQUENCES, {"qkv": nn.Linear(15, 45), "head": nn.Linear(15, 3)}),
    (fused_heads, SEQUENCES, {"qkv": nn.Linear(15, 45), "head": nn.Linear(15, 3)}),
    (heads_in_the_batch, SEQUENCES, {"qkv": nn.Linear(15, 45), "head": nn.Linear(15, 3)}),
    (patches, IMAGES, {"embed": nn.Linear(75, 8), "head": nn.Linear(8, 3)}),
    (windows, IMAGES, {"conv": features(), "mix": nn.Linear(20, 8), "head": nn.Linear(8, 3)}),
    (
        shuffled_channels,
        IMAGES,
        {"conv": features(), "grouped": nn.Conv2d(20, 8, 1, groups=4), "head": nn.Linear(8, 3)},
    ),
    (undone, IMAGES, {"conv": features(), "head": nn.Linear(20, 3)}),
    (space_to_depth, IMAGES, {"conv": features(), "grouped": nn.Conv2d(80, 8, 1), "head": nn.Linear(8, 3)}),
    (
        time_folded_into_the_batch,
        IMAGES,
        {"frames": nn.Conv2d(1, 8, 3), "rnn": nn.GRU(8, 8, batch_first=True), "head": nn.Linear(8, 3)},
    ),
    (stacked_frames, SEQUENCES, {"embed": nn.Linear(30, 8), "head": nn.Linear(8, 3)}),
    (relative_shift, SEQUENCES, {"qk": nn.Linear(15, 30), "head": nn.Linear(15, 3)}),
    (skewed_window, SEQUENCES, {"qk": nn.Linear(15, 15), "head": nn.Linear(15, 3)}),
    (
        tokens_to_experts,
        SEQUENCES,
        {
            "gate": nn.Linear(15, 2),
            "experts": nn.ModuleList([nn.Linear(15, 15) for _ in range(2)]),
            "head": nn.Linear(15, 3),
        },
    ),
    (per_anchor, IMAGES, {"conv": features(), "head": nn.Linear(5, 3)}),
    (
        generated,
        SEQUENCES,
        {"project": nn.Linear(15, 180), "up": nn.ConvTranspose2d(20, 8, 4, 2, 1), "head": nn.Linear(8, 3)},
    ),
    (language_model, SEQUENCES, {"head": nn.Linear(15, 3)}),
    (beams, SEQUENCES, {"rnn": nn.GRU(15, 8, batch_first=True), "head": nn.Linear(8, 3)}),
    (reshaped_weights, SEQUENCES, {"weight": nn.Parameter(torch.randn(15, 15)), "head": nn.Linear(15, 3)}),
    (unfolded, IMAGES, {"embed": nn.Linear(75, 25), "head": nn.Linear(25, 3)}),
    (pixel_shuffled, IMAGES, {"conv": features(), "head": nn.Linear(5, 3)}),
    (drawn, SEQUENCES, {"head": nn.Linear(15, 3)}),
]


@pytest.mark.parametrize(("forward", "inputs", "layers"), HEALTHY, ids=lambda value: getattr(value, "__name__", ""))
def test_no_mixture(forward, inputs, layers):
    assert not findings("ARC029", Net(forward, **layers), inputs, loss=nn.CrossEntropyLoss(), targets=LABELS)


def test_the_advised_code_gives_the_shape_and_keeps_the_axes_apart():
    model = Net(tokens_by_view, conv=features(), head=nn.Linear(20, 3))
    (finding,) = findings("ARC029", model, IMAGES, loss=nn.CrossEntropyLoss(), targets=LABELS)
    x = torch.arange(4 * 20 * 25).view(4, 20, 5, 5)
    code = finding.fix.split(" instead")[0].removeprefix("write ")
    assert torch.equal(eval(code), x.flatten(2).transpose(1, 2))


def test_the_advised_code_for_heads():
    model = Net(heads_by_view, qkv=nn.Linear(15, 45), head=nn.Linear(15, 3))
    (finding,) = findings("ARC029", model, SEQUENCES, loss=nn.CrossEntropyLoss(), targets=LABELS)
    x = torch.arange(4 * 6 * 15).view(4, 6, 15)
    code = finding.fix.split(" instead")[0].removeprefix("write ")
    assert torch.equal(eval(code), x.view(4, 6, 3, 5).transpose(1, 2))


def test_class_scores_of_pixels_for_the_loss():
    def loss(output, target):
        return F.cross_entropy(output.view(-1, 5), target.view(-1))

    model = Net(lambda net, x: net.conv(x), conv=nn.Conv2d(3, 5, 1))
    inputs, targets = torch.randn(2, 3, 8, 6), torch.randint(0, 5, (2, 8, 6))
    (finding,) = findings("ARC029", model, inputs, loss=loss, targets=targets)
    assert finding.level.value == "error"
    assert "permute(0, 2, 3, 1).reshape(96, 5)" in finding.fix


def test_samples_mixed_for_the_loss_alone_are_an_error():
    def swapped(net, x):
        return net.head(x).view(6, 4, 3)

    def loss(output, target):
        return F.cross_entropy(output.flatten(0, 1), target.flatten())

    inputs, targets = SEQUENCES, torch.arange(24).view(6, 4) % 3
    (finding,) = findings("ARC029", Net(swapped, head=nn.Linear(15, 3)), inputs, loss=loss, targets=targets)
    assert finding.level.value == "error"


class HeadsInBatch(nn.Module):
    """Attention whose heads are merged with the batch by one view; `swapped` is the fault that has the same shapes."""

    def __init__(self, order, *, swapped=False):
        super().__init__()
        self.order, self.swapped = order, swapped
        self.embed, self.qkv, self.out = nn.Linear(15, 32), nn.Linear(32, 96), nn.Linear(32, 3)

    def split(self, x):
        n, length, width = x.shape
        if self.order == "time-major":
            x = x.transpose(0, 1).contiguous()
            return (x.view(length, width, n) if self.swapped else x.view(length, n * 4, 8)).transpose(0, 1)
        x = x.transpose(1, 2)
        x = x.reshape(width, n, length) if self.swapped else x.reshape(n * 4, 8, length)
        return x.transpose(1, 2)

    def merge(self, x, n):
        if self.order == "time-major":
            return x.transpose(0, 1).contiguous().view(-1, n, 32).transpose(0, 1)
        return x.transpose(1, 2).reshape(n, 32, -1).transpose(1, 2)

    def forward(self, x):
        q, k, v = (self.split(part) for part in self.qkv(self.embed(x)).chunk(3, -1))
        mixed = (q @ k.transpose(1, 2) / 3).softmax(-1) @ v
        return self.out(self.merge(mixed, len(x)).mean(1))


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("order", ["time-major", "channels-first"])
def test_a_batch_as_large_as_a_head_is_wide_is_not_mixed(order, *, static):
    setup = {"model": HeadsInBatch(order), "inputs": torch.randn(8, 6, 15)}
    assert findings("ARC029", setup, static=static) == []


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("order", ["time-major", "channels-first"])
def test_a_swap_of_the_same_shapes_is_found(order, *, static):
    setup = {"model": HeadsInBatch(order, swapped=True), "inputs": torch.randn(8, 6, 15)}
    assert findings("ARC029", setup, static=static)
