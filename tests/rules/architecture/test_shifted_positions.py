"""ARC029 scrambled-view: relative positions are shifted by views that count rows out anew, on purpose."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nnlint.testing import Net, findings
from tests.libraries import library

SEQUENCES = torch.randn(8, 32, 16, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(8, 16, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 3


def _heads(value: torch.Tensor) -> torch.Tensor:
    return value.unflatten(-1, (2, -1)).transpose(1, 2)


def _attended(net: nn.Module, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    q, k = map(_heads, net.qk(x).chunk(2, -1))
    weights = ((q @ k.transpose(2, 3) + positions) / 3).softmax(-1)
    return net.head((weights @ _heads(x)).transpose(1, 2).flatten(2).mean(1))


def _against_table(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Scores of all queries against 63 relative positions, which are encoded for this batch."""
    positions = net.positions(torch.cat([x, x[:, 1:].flip(1)], 1))
    return _heads(net.qk(x).chunk(2, -1)[0]) @ _heads(positions).transpose(2, 3)


def conformer(net, x):
    scores = _against_table(net, x)
    zeros = torch.zeros((*scores.shape[:3], 1))
    padded = torch.cat([zeros, scores], -1).view(*scores.shape[:2], scores.shape[3] + 1, scores.shape[2])
    return _attended(net, x, padded[:, :, 1:].view_as(scores)[..., :32])


def music_transformer(net, x):
    scores = _against_table(net, x)[..., :32]
    padded = F.pad(scores, (1, 0))
    n, heads, rows, columns = padded.shape
    return _attended(net, x, padded.reshape(n, heads, columns, rows).narrow(2, 1, rows))


def relative_to_absolute(net, x):
    scores = _against_table(net, x)
    n, heads, rows, columns = scores.shape
    flat = torch.cat([scores, scores.new_zeros(n, heads, rows, 1)], 3).reshape(n, heads, -1)
    flat = torch.cat([flat, flat.new_zeros(n, heads, columns - rows)], 2)
    return _attended(net, x, flat.reshape(n, heads, rows + 1, columns)[:, :, :rows, rows - 1 :])


def halo(net, x):
    """Attention of blocks of 4 x 4 over windows of 8 x 8: relative positions along one side, for the queries of all heads and blocks."""
    n, width, side, _ = x.shape
    heads, depth, blocks = 8, width // 8, (side // 4) ** 2
    q = x.reshape(-1, depth, side // 4, 4, side // 4, 4).permute(0, 1, 3, 5, 2, 4)
    queries = q.reshape(n * heads, depth, -1, blocks).transpose(1, 3).reshape(-1, 4, 4, depth)
    scores = (queries @ net.halves.t()).reshape(-1, 4, 15)
    padded = F.pad(F.pad(scores, [0, 1]).flatten(1), [0, 15 - 4]).reshape(-1, 5, 15)
    found = padded[:, :4, 7:].reshape(len(queries), 4, 1, 4, 8).expand(-1, -1, 8, -1, -1).permute(0, 1, 3, 2, 4)
    weights = found.reshape(n * heads, blocks, 16, 64).softmax(-1)
    return net.head((weights @ net.values).mean((1, 2)).view(n, -1))


def xlnet(net, x):
    scores = F.pad(_against_table(net, x), (0, 1))
    n, heads, rows, columns = scores.shape
    shifted = scores.reshape(n, heads, columns, rows)[:, :, 1:, :].reshape(n, heads, rows, columns - 1)
    return _attended(net, x, torch.index_select(shifted, 3, torch.arange(32)))


def without_padding(net, x):
    """As XLNet has it: the first row is cut off instead of a column put before."""
    scores = _against_table(net, x)
    n, heads, rows, columns = scores.shape
    shifted = scores.reshape(n, heads, columns, rows)[:, :, 1:, :].reshape(n, heads, rows, columns - 1)
    return _attended(net, x, shifted[..., :32])


SHIFTED = [conformer, music_transformer, relative_to_absolute, xlnet, without_padding]


@pytest.mark.parametrize("forward", SHIFTED)
def test_rows_that_are_shifted_on_purpose(forward):
    model = Net(forward, qk=nn.Linear(16, 32), positions=nn.Linear(16, 16), head=nn.Linear(16, 3))
    assert not findings("ARC029", model, SEQUENCES, loss=nn.CrossEntropyLoss(), targets=LABELS)


def test_rows_of_windows_that_are_shifted_on_purpose():
    model = Net(halo, halves=nn.Parameter(torch.randn(15, 2)), values=nn.Parameter(torch.randn(64, 2)), head=nn.Linear(16, 3))
    assert not findings("ARC029", model, IMAGES, loss=nn.CrossEntropyLoss(), targets=LABELS)


def padded_map(net, x):
    """Padding for the next convolution is no shift of positions: the tokens are mixed with the channels."""
    f = net.conv(F.pad(x, (1, 1, 1, 1)))
    return net.head(f.view(len(x), -1, f.shape[1]).mean(1))


def sliced_map(net, x):
    f = net.conv(x)[:, :, 1:, 1:].contiguous()
    return net.head(f.view(len(x), -1, f.shape[1]).mean(1))


def appended_token(net, x):
    f = net.conv(x)
    tokens = f.view(len(x), -1, f.shape[1])
    return net.head(torch.cat([tokens, torch.zeros(len(x), 1, f.shape[1])], 1).mean(1))


@pytest.mark.parametrize("forward", [padded_map, sliced_map, appended_token])
def test_maps_that_are_mixed_beside_a_padding(forward):
    model = Net(forward, conv=nn.Conv2d(16, 20, 3), head=nn.Linear(20, 3))
    assert findings("ARC029", model, IMAGES, loss=nn.CrossEntropyLoss(), targets=LABELS)


@pytest.mark.parametrize(("block", "side"), [(4, 16), (8, 16), (4, 8)])
def test_attention_over_halos_of_timm(block, side):
    library("timm")
    from timm.layers.halo_attn import HaloAttn

    layers = {"conv": nn.Conv2d(16, 16, 1), "attend": HaloAttn(16, num_heads=8, block_size=block, halo_size=2), "head": nn.Linear(16, 3)}
    model = Net(lambda net, x: net.head(net.attend(net.conv(x)).mean((2, 3))), **layers)
    assert not findings("ARC029", model, IMAGES[:, :, :side, :side], loss=nn.CrossEntropyLoss(), targets=LABELS)
