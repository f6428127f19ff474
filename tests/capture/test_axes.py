"""Axis flow, op family by op family: the dimensions of a small function's result in letters.

The input's dimensions are called by the letters of the test; a new axis by its role (or `?` without one), a part of an axis by
`letter[stride:size]`, a product by its factors side by side, a dimension of size 1 by `1`, a twin by a prime, what is not known by `~`.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, recorded

SIZES = {"n": 2, "c": 4, "h": 6, "w": 5, "t": 7, "d": 12}
_ROLES = {"feature": "f", "channel": "k", "layer": "l", "": "?", "batch": "n"}


def axes_of(function, letters, **layers):
    """The dimensions of `function(net, x)` with x of the letters' sizes, and the flow."""
    x = torch.randn(*(SIZES[letter] for letter in letters))
    graph = recorded(Net(function, **layers), x)
    flow = graph.axis_flow
    names = {dim[0].axis.key: letter for dim, letter in zip(flow.of(graph.inputs[0]).dims, letters, strict=True)}
    (output,) = graph.outputs
    return " ".join(_dim(dim, names) for dim in flow.of(output).dims), graph


def _dim(dim, names):
    return "".join(_digit(digit, names) for digit in dim) or "1"


def _digit(digit, names):
    axis = digit.axis
    if axis.origin == "unknown":
        return "~"
    twin = "'" if axis.twin is not None else ""
    known = names.get(axis.key if axis.twin is None else axis.twin)
    if known is None:
        known = "".join(sorted(names.get(root, "?") for root in axis.roots)) if axis.sources else None
    if known is None and axis.roots != {axis.key}:
        known = "<" + "".join(sorted({names.get(root, _ROLES.get(axis.role, axis.role)) for root in axis.roots})) + ">"
    known = (
        known
        or {"repeated": "=", "constant": "-", "random": "%"}.get(axis.origin)
        or _ROLES.get(axis.role, axis.role[:1])
    )
    part = "" if digit.is_whole else f"[{digit.stride}:{digit.size}]"
    return f"{known}{twin}{part}"


VIEWS = [
    (lambda net, x: x.flatten(2), "nchw", "n c hw"),
    (lambda net, x: x.view(2, 4, 30).view(2, 4, 6, 5), "nchw", "n c h w"),
    (lambda net, x: x.view(2, 2, 2, 6, 5), "nchw", "n c[2:2] c[1:2] h w"),
    (lambda net, x: x.reshape(8, 6, 5), "nchw", "nc h w"),
    (lambda net, x: x.permute(0, 2, 3, 1).reshape(2, 30, 4), "nchw", "n hw c"),
    (lambda net, x: x.view(2, 30, 4), "nchw", "n chw[4:30] chw[1:4]"),
    (lambda net, x: x.view(2, 30, 4).view(2, 4, 6, 5), "nchw", "n c h w"),
    (lambda net, x: x.view(2, 30, 4).relu().flatten(1), "nchw", "n chw"),
    (lambda net, x: x.view(2, 7, 3, 4).transpose(1, 2), "ntd", "n d[4:3] t d[1:4]"),
    (lambda net, x: x.view(2, 7, 3, 4).transpose(1, 2).transpose(1, 2).flatten(2), "ntd", "n t d"),
    (lambda net, x: x.unsqueeze(1).squeeze(1)[:, None], "nc", "n 1 c"),
    (lambda net, x: x.unflatten(2, (2, 3)), "nch", "n c h[3:2] h[1:3]"),
    (lambda net, x: x.reshape(2, 2, 2, 6, 5).transpose(1, 2).reshape(2, 4, 6, 5), "nchw", "n c[1:2]c[2:2] h w"),
    (lambda net, x: x.view(2, 4, 3, 2, 5).permute(0, 1, 3, 2, 4).reshape(2, 8, 3, 5), "nchw", "n ch[1:2] h[2:3] w"),
    (lambda net, x: x.view_as(torch.zeros(2, 20)), "ncw", "n cw"),
]
PERMUTES = [
    (lambda net, x: x.transpose(1, -1), "nchw", "n w h c"),
    (lambda net, x: x.permute((0, 3, 1, 2)), "nchw", "n w c h"),
    (lambda net, x: torch.permute(x, dims=(1, 0)), "nc", "c n"),
    (lambda net, x: x.movedim(1, -1), "nchw", "n h w c"),
    (lambda net, x: torch.moveaxis(x, (0, 1), (1, 0)), "nch", "c n h"),
    (lambda net, x: x.t(), "nc", "c n"),
    (lambda net, x: x.mT.contiguous(), "nch", "n h c"),
    (lambda net, x: x.swapaxes(0, 2), "nch", "h c n"),
    (lambda net, x: x.expand(3, -1, -1), "nc", "= n c"),
    (lambda net, x: x.repeat(1, 3), "nc", "n =c"),
    (lambda net, x: x.repeat_interleave(3, dim=0), "nc", "n= c"),
    (lambda net, x: F.pixel_shuffle(x, 2), "nchw", "n 1 hc[2:2] wc[1:2]"),
    (lambda net, x: F.pixel_unshuffle(x[..., :4], 2), "nchw", "n ch[1:2]<w>[1:2] h[2:3] <w>[2:2]"),
    (lambda net, x: F.channel_shuffle(x, 2), "nchw", "n c[1:2]c[2:2] h w"),
    (lambda net, x: x.unfold(2, 3, 1), "nch", "n c <h> <h>"),
]
POINTWISE = [
    (lambda net, x: (x + 1).relu() * x.sigmoid(), "nch", "n c h"),
    (lambda net, x: x * net.weight[0], "nc", "n c"),
    (lambda net, x: x + x.mean(1, keepdim=True), "nc", "n c"),
    (lambda net, x: x.unsqueeze(2) - x.unsqueeze(1), "nt", "n t t'"),
    (lambda net, x: x[:, :1] * torch.randn(2, 4), "nc", "n %"),
    (lambda net, x: torch.where(x > 0, x, torch.zeros_like(x)), "nc", "n c"),
    (lambda net, x: F.dropout(F.layer_norm(x, (4,))), "nc", "n c"),
    (lambda net, x: torch.zeros(2, 4) + x, "nc", "n c"),
    (lambda net, x: x.softmax(1).cumsum(1), "nc", "n c"),
    (lambda net, x: x.sort(1)[0], "nc", "n c"),
    (lambda net, x: F.glu(x, 1), "nc", "n <c>"),
    (lambda net, x: F.one_hot(x.argmax(1), 4).float(), "ncw", "n w f"),
    (lambda net, x: torch.view_as_complex(x.unflatten(1, (2, 2))).real, "nc", "n c[2:2]"),
]
REDUCTIONS = [
    (lambda net, x: x.mean((2, 3)), "nchw", "n c"),
    (lambda net, x: x.sum(1, keepdim=True), "nch", "n 1 h"),
    (lambda net, x: x.max(2)[0], "nch", "n c"),
    (lambda net, x: x.max(2).indices.float(), "nch", "n c"),
    (lambda net, x: x.norm(dim=1), "nch", "n h"),
    (lambda net, x: x.logsumexp(-1), "nch", "n c"),
    (lambda net, x: torch.amax(x, dim=[0, 2]), "nch", "c"),
    (lambda net, x: x.topk(3, 1)[0], "nch", "n <c> h"),
    (lambda net, x: F.cosine_similarity(x[:, :, None], x[:, None], dim=-1), "ntc", "n t t'"),
]
PRODUCTS = [
    (lambda net, x: F.linear(x, net.weight), "ntc", "n t f"),
    (lambda net, x: x @ net.weight.t(), "ntc", "n t f"),
    (lambda net, x: x @ x.mT, "ntc", "n t t'"),
    (lambda net, x: (x @ x.mT).softmax(-1) @ x, "ntc", "n t c"),
    (lambda net, x: torch.bmm(x.mT, x), "ntc", "n c c'"),
    (lambda net, x: torch.einsum("ntc,nsc->nst", x, x), "ntc", "n t t'"),
    (lambda net, x: torch.einsum("...c,dc->...d", x, net.weight), "ntc", "n t f"),
    (lambda net, x: torch.einsum("nij,nkj", x, x), "ntc", "t t'"),
    (lambda net, x: torch.tensordot(x, net.weight, dims=([2], [1])), "ntc", "n t f"),
    (lambda net, x: torch.outer(x[:, 0], x[:, 1]), "nc", "n n'"),
    (lambda net, x: torch.cdist(x, x), "ntc", "n t t'"),
    (lambda net, x: torch.baddbmm(torch.zeros(2, 7, 7), x, x.mT), "ntc", "n t t'"),
    (lambda net, x: F.conv2d(x, torch.randn(3, 4, 3, 3), padding=1), "nchw", "n k h w"),
    (lambda net, x: F.conv2d(x, torch.randn(3, 4, 3, 3), stride=2), "nchw", "n k <h> <w>"),
    (lambda net, x: F.conv_transpose1d(x, torch.randn(4, 3, 2), stride=2), "nct", "n k <t>"),
    (lambda net, x: F.max_pool2d(x, 2), "nchw", "n c <h> <w>"),
    (lambda net, x: F.adaptive_avg_pool2d(x, 1).flatten(1), "nchw", "n c"),
    (lambda net, x: F.interpolate(x, scale_factor=2), "nchw", "n c <h> <w>"),
    (lambda net, x: F.embedding(x.argmax(2), net.weight), "ntc", "n t f"),
]
JOINS = [
    (lambda net, x: torch.cat([x, x], 1), "nc", "n pc"),
    (lambda net, x: torch.cat([x, -x], 0).view(2, 2, 4), "nc", "p n c"),
    (lambda net, x: torch.cat([x, -x, x], 0)[:2], "nc", "n c"),
    (lambda net, x: torch.cat([x, -x], 0).chunk(2)[1], "nc", "n c"),
    (lambda net, x: torch.cat([x, x[:, :2]], 1), "nc", "n <c>"),
    (lambda net, x: torch.stack([x, x], 1), "nc", "n ? c"),
    (lambda net, x: torch.cat([net.token.expand(2, 1, 4), x], 1), "ntc", "n <t> c"),
    (lambda net, x: F.pad(x, (1, 1)), "nct", "n c <t>"),
    (lambda net, x: x.chunk(2, 1)[1], "nch", "n <c> h"),
    (lambda net, x: torch.split(x, [1, 3], dim=1)[1], "nch", "n <c> h"),
    (lambda net, x: x.unbind(1)[0], "nch", "n h"),
    (lambda net, x: x[:, -1], "ntc", "n c"),
    (lambda net, x: x[..., 1:], "ntc", "n t <c>"),
    (lambda net, x: x[:, None, ..., 0], "ntc", "n 1 t"),
    (lambda net, x: x[:, torch.tensor([0, 2])], "ntc", "n <t> c"),
    (lambda net, x: x[torch.arange(2), torch.tensor([1, 1])], "ntc", "<nt> c"),
    (lambda net, x: x[x[:, 0] > -100], "nc", "n c"),
    (lambda net, x: x.select(1, 0), "ntc", "n c"),
    (lambda net, x: x.narrow(1, 0, 3), "ntc", "n <t> c"),
    (lambda net, x: x.index_select(1, torch.tensor([0, 3])), "ntc", "n <t> c"),
    (lambda net, x: x.gather(1, torch.zeros(2, 1, 4, dtype=torch.long)), "ntc", "n 1 c"),
    (lambda net, x: torch.stack([x[:, i] for i in range(7)], 1), "ntc", "n ? c"),
    (lambda net, x: x.diagonal(0, 1, 2), "ntc", "n <t>"),
]
SEQUENCES = [
    (lambda net, x: net.lstm(x)[0], "ntd", "n t f"),
    (lambda net, x: net.lstm(x)[1][0], "ntd", "l n f"),
    (lambda net, x: net.gru(x.transpose(0, 1))[1], "ntd", "l n f"),
    (lambda net, x: net.cell(x[:, 0]), "ntd", "n f"),
    (lambda net, x: net.attention(x, x, x)[0], "ntd", "n t f"),
    (lambda net, x: net.attention(x, x[:, :3], x[:, :3])[1], "ntd", "n t <t>"),
    (lambda net, x: F.scaled_dot_product_attention(x, x, x[..., :5]), "ntd", "n t <d>"),
    (
        lambda net, x: nn.utils.rnn.pad_packed_sequence(
            net.lstm(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([7, 3]), batch_first=True))[0], batch_first=True
        )[0],
        "ntd",
        "n t f",
    ),
    (lambda net, x: net.layer(x), "ntd", "n t d"),
]


@pytest.mark.parametrize(
    ("function", "letters", "wanted"),
    [*VIEWS, *PERMUTES, *POINTWISE, *REDUCTIONS, *PRODUCTS, *JOINS, *SEQUENCES],
)
def test_transfer(function, letters, wanted):
    torch.manual_seed(0)
    layers = {
        "weight": nn.Parameter(torch.randn(4, 4)),
        "token": nn.Parameter(torch.randn(1, 1, 4)),
        "lstm": nn.LSTM(12, 5, 2, batch_first=True),
        "gru": nn.GRU(12, 5, 2),
        "cell": nn.GRUCell(12, 5),
        "attention": nn.MultiheadAttention(12, 2, batch_first=True),
        "layer": nn.TransformerEncoderLayer(12, 2, 8, batch_first=True),
    }
    found, _ = axes_of(function, letters, **layers)
    assert found == wanted


def test_what_is_not_known_says_so():
    class Swap(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.t().contiguous()

        @staticmethod
        def backward(ctx, gradient):
            return gradient.t()

    found, graph = axes_of(lambda net, x: Swap.apply(x) * 2, "nc")
    assert found == "~ ~"
    assert not graph.axes(graph.outputs[0]).known
    assert graph.axis_flow.shares()[1] == 0


# -------------------------------------------------------------------- what an op does along its axes


def named(graph, name):
    return next(op for op in graph.ops if op.name == name)


def test_what_is_contracted():
    _, graph = axes_of(lambda net, x: x @ x.mT, "ntc")
    (part,) = graph.axes(named(graph, "matmul")).contracted
    given = graph.axes(graph.inputs[0]).dims
    assert part.left == part.right == given[2]
    assert part.left_op is graph.inputs[0]


def test_what_is_normalized():
    _, graph = axes_of(lambda net, x: x.softmax(-1), "ntc")
    assert graph.axes(named(graph, "softmax")).along[0].dim == graph.axes(graph.inputs[0]).dims[2]


def test_what_a_layer_steps_along():
    _, graph = axes_of(lambda net, x: net.rnn(x)[0], "ntd", rnn=nn.GRU(12, 5))
    flow = graph.axis_flow
    steps = flow.of(named(graph, "gru")).steps
    assert flow.is_batch(steps.positions)
    assert not flow.has_batch(steps.samples)


def test_what_is_selected():
    _, graph = axes_of(lambda net, x: x[:, -1], "ntc")
    (part,) = graph.axes(named(graph, "getitem")).selected
    assert (part.index, part.entry) == (1, -1)


def test_the_batch_inside_a_dimension():
    _, graph = axes_of(lambda net, x: x.flatten(0, 1), "ntc")
    flow = graph.axis_flow
    merged = flow.of(graph.outputs[0]).dims[0]
    assert flow.has_batch(merged)
    assert not flow.is_batch(merged)
    assert flow.describe(merged) == "batch x axis"


def test_a_mixture_says_where_it_was_made():
    _, graph = axes_of(lambda net, x: x.view(2, 30, 4).relu(), "nchw")
    view = named(graph, "view")
    flow = graph.axis_flow
    assert {axis.scrambled_by for axis in flow.scrambled(flow.of(graph.outputs[0]).dims)} == {view.index}
    assert [len(cut.digits) for cut in flow.of(view).cuts] == [3]


def test_a_convolution_confirms_the_batch():
    _, graph = axes_of(lambda net, x: net.conv(x), "nchw", conv=nn.Conv2d(4, 3, 1))
    assert graph.axis_flow.batch_is_certain
    _, graph = axes_of(lambda net, x: net.linear(x), "ntc", linear=nn.Linear(4, 3))
    assert not graph.axis_flow.batch_is_certain
