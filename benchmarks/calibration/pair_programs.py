"""Makers of pairs whose fault is in the program: the same program with and without it, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Fields = dict[str, Any]
Pair = Iterator[tuple[bool, Fields]]


def classification(model: nn.Module, inputs: torch.Tensor, classes: int) -> Fields:
    """The fields of a setup whose labels go through the classes in turn."""
    return {
        "model": model,
        "inputs": inputs,
        "targets": torch.arange(len(inputs)) % classes,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
    }


# -------------------------------------------------------------------- activations, attention, embeddings


class Scaled(nn.Module):
    """A factor before an activation."""

    def __init__(self, factor: float, activation: nn.Module) -> None:
        super().__init__()
        self.factor = factor
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.factor * x)


def saturated(seed: int) -> Pair:
    """SIG002. Hidden layers of a saturating net at 5 to 40 times, and at 0.3 to 1.5 times, the scale of Glorot's weights."""
    draw = random.Random(seed)
    width, depth, kind = draw.choice((16, 32, 64, 128)), draw.randint(2, 4), draw.choice((nn.Tanh, nn.Sigmoid, nn.Hardtanh))
    how = draw.choice(("weights", "factor", "inputs"))
    for faulty, low, high in ((True, 5.0, 40.0), (False, 0.3, 1.5)):
        factor = low * (high / low) ** draw.random() * (3.0 if kind is nn.Sigmoid and faulty else 1.0)
        layers: list[nn.Module] = []
        for position in range(depth):
            layer = nn.Linear(width if position else 20, width)
            nn.init.xavier_normal_(layer.weight, gain=factor if how == "weights" else 1.0)
            layers += [layer, Scaled(factor, kind()) if how == "factor" else kind()]
        inputs = torch.randn(32, 20) * (factor if how == "inputs" else 1.0)
        yield faulty, classification(nn.Sequential(*layers, nn.Linear(width, 5)), inputs, 5)


class Attention(nn.Module):
    """One layer of self-attention after a norm, written in one of three ways."""

    def __init__(self, width: int, heads: int, *, style: str, scale: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, 5)
        self.heads = heads
        self.style = style
        self.scale = scale
        for part in self.qkv.weight.chunk(3):
            nn.init.xavier_uniform_(part.data)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        if self.style == "fused":
            mixed = functional.scaled_dot_product_attention(q, k, v, scale=self.scale)
        else:
            scores = torch.einsum("bhqd,bhkd->bhqk", q, k) if self.style == "einsum" else q @ k.transpose(-2, -1)
            mixed = (scores if self.scale == 1.0 else scores * self.scale).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2).mean(1))


def unscaled_attention(seed: int) -> Pair:
    """SIG009. Scores of heads of 32 to 256 features, unscaled and scaled by the root of the width."""
    draw = random.Random(seed)
    head, heads, keys = draw.choice((32, 64, 128, 256)), draw.choice((1, 2)), draw.choice((8, 16, 32))
    style = draw.choice(("matmul", "einsum", "fused"))
    inputs = torch.randn(8, keys, head * heads)
    for faulty in (True, False):
        model = Attention(head * heads, heads, style=style, scale=1.0 if faulty else head**-0.5)
        yield faulty, classification(model, inputs, 5)


class Tied(nn.Module):
    """A recurrent or pointwise language model whose output matrix is its embedding."""

    def __init__(self, vocabulary: int, width: int, *, recurrent: bool, norm: bool, scale: float = 1.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.body = nn.GRU(width, width, batch_first=True) if recurrent else nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.scale = scale

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.body(self.embed(tokens))
        hidden = self.norm(hidden[0] if isinstance(hidden, tuple) else hidden)
        return (self.scale * hidden @ self.embed.weight.t()).transpose(1, 2)


def tied_embedding(seed: int) -> Pair:
    """INI011. A tied embedding of N(0, 1) before a norm or a bounded state, and one of 0.02 or scaled by the root of the width."""
    draw = random.Random(seed)
    vocabulary, width, recurrent = draw.choice((50, 200, 1000)), draw.choice((32, 64, 128)), draw.random() < 0.5
    norm = draw.random() < 0.5 or not recurrent
    tokens = torch.randint(0, vocabulary, (16, 12))
    fields = {"inputs": tokens, "targets": tokens.roll(-1, 1), "loss": nn.CrossEntropyLoss()}
    scaled = draw.random() < 0.5
    for faulty in (True, False):
        model = Tied(vocabulary, width, recurrent=recurrent, norm=norm, scale=width**-0.5 if scaled and not faulty else 1.0)
        if not faulty and not scaled:
            nn.init.normal_(model.embed.weight, std=0.02)
        yield faulty, {**fields, "model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3)}


# -------------------------------------------------------------------- maps, sizes, norms, padding


def small_maps(seed: int) -> Pair:
    """ARC014. Stacks of strided 3 x 3 or 5 x 5 convolutions: two to three wide ones on a single position, and none."""
    draw = random.Random(seed)
    width, strides, more, kernel = draw.choice((8, 16, 32)), draw.randint(3, 4), draw.randint(2, 3), draw.choice((3, 5))
    pooled = draw.random() < 0.5
    for faulty in (True, False):
        layers: list[nn.Module] = []
        size = 2**strides * (1 if faulty else draw.choice((4, 8)))
        for position in range(strides + more):
            given, taken = 3 if position == 0 else min(width * 2 ** (position - 1), 64), min(width * 2**position, 64)
            down = position < strides
            stride = 2 if down and not pooled else 1
            layers += [nn.Conv2d(given, taken, kernel, stride=stride, padding=kernel // 2), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if down and pooled else []
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5)]
        model, inputs = nn.Sequential(*layers), torch.randn(8, 3, size, size)
        model(inputs)
        yield faulty, classification(model, inputs, 5)


def dense_after_flatten(seed: int) -> Pair:
    """ARC015. The map flattened into one dense layer, and pooled before it, reduced by strides, or given to several of one size."""
    draw = random.Random(seed)
    channels, size, width = draw.choice((16, 32)), draw.choice((32, 48, 64)), draw.choice((40, 64, 100))
    body = [nn.Conv2d(3, channels, 3, padding=1), nn.ReLU()]
    flat = nn.Sequential(*body, nn.Flatten(), nn.Linear(channels * size * size, width), nn.ReLU(), nn.Linear(width, 5))
    yield True, classification(flat, torch.randn(4, 3, size, size), 5)
    kind = draw.choice(("pooled", "wide", "vocabulary"))
    if kind == "pooled":
        layers = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(channels * 16, 1500), nn.ReLU(), nn.Linear(1500, 700)]
        model: nn.Module = nn.Sequential(*body, *layers, nn.ReLU(), nn.Linear(700, 5))
        yield False, classification(model, torch.randn(4, 3, size, size), 5)
    elif kind == "wide":
        model = nn.Sequential(nn.Linear(800, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU(), nn.Linear(800, 5))
        yield False, classification(model, torch.randn(8, 800), 5)
    else:
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 20_000))
        yield False, classification(model, torch.randn(8, 64), 20_000)


def _block(given: int, width: int, *, convolution: bool) -> list[nn.Module]:
    if convolution:
        return [nn.Conv2d(given, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return [nn.Linear(given, width), nn.BatchNorm1d(width), nn.ReLU()]


def variance_shift(seed: int) -> Pair:
    """NRM001. Dropout of 0.3 to 0.7 between rectified values and a batch norm, and after the last norm, or of 0.1 at most."""
    draw = random.Random(seed)
    width, convolution, p = draw.choice((16, 32, 64)), draw.random() < 0.5, draw.choice((0.3, 0.4, 0.5, 0.6, 0.7))
    inputs = torch.randn(32, 3, 8, 8) if convolution else torch.randn(64, 3)
    last = draw.random() < 0.5
    for faulty in (True, False):
        inner = nn.Dropout(p) if faulty else nn.Identity() if last else nn.Dropout(draw.choice((0.05, 0.1)))
        layers = [*_block(3, width, convolution=convolution), inner, *_block(width, width, convolution=convolution)]
        layers += [nn.Flatten(), nn.Dropout(p) if not faulty and last else nn.Identity(), nn.LazyLinear(5)]
        model = nn.Sequential(*layers)
        model(inputs)
        yield faulty, classification(model, inputs, 5)


class Sequences(nn.Module):
    """A recurrent or convolutional net with one answer for each position."""

    def __init__(self, ids: int, answers: int, width: int, *, recurrent: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(ids, width, padding_idx=0)
        self.body: nn.Module = nn.GRU(width, width, batch_first=True) if recurrent else nn.Linear(width, width)
        self.head = nn.Linear(width, answers)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.body(self.embed(tokens))
        return self.head(hidden[0] if isinstance(hidden, tuple) else torch.relu(hidden))


def padding_in_loss(seed: int) -> Pair:
    """LOS028. Language models, taggers and regressions over sequences that are padded by a fifth to two thirds: counted, left out."""
    draw = random.Random(seed)
    length, shortest, kind = draw.choice((12, 16, 24)), draw.randint(3, 8), draw.choice(("next", "tags", "numbers"))
    lengths = torch.randint(shortest, length + 1, (32,))
    valid = torch.arange(length) < lengths[:, None]
    tokens = torch.randint(1, 40, (32, length)).masked_fill(~valid, 0)
    model = Sequences(40, {"next": 40, "tags": 6, "numbers": 1}[kind], draw.choice((16, 32)), recurrent=draw.random() < 0.5)
    inputs = tokens[:, :-1] if kind == "next" else tokens
    targets = {"next": tokens[:, 1:], "tags": (tokens % 5 + 1).masked_fill(~valid, 0), "numbers": (tokens / 10.0)[..., None]}[kind]

    def counted(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        if kind == "numbers":
            return functional.mse_loss(outputs, wanted)
        return functional.cross_entropy(outputs.transpose(1, 2), wanted)

    def left_out(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        if kind == "numbers":
            return ((outputs - wanted) ** 2)[wanted != 0].mean()
        return functional.cross_entropy(outputs.transpose(1, 2), wanted, ignore_index=0)

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    fields = {"model": model, "inputs": inputs, "targets": targets, "optimizer": optimizer}
    yield True, {**fields, "loss": counted}
    yield False, {**fields, "loss": left_out}


MAKERS = {
    "SIG002": saturated,
    "SIG009": unscaled_attention,
    "INI011": tied_embedding,
    "ARC014": small_maps,
    "ARC015": dense_after_flatten,
    "NRM001": variance_shift,
    "LOS028": padding_in_loss,
}
