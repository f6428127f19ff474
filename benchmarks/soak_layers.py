"""Layers of every kind that strangers' models are made of, for `soak_setups.py`."""

from __future__ import annotations

import dataclasses
import warnings
from collections import namedtuple
from collections.abc import Callable

import torch
from torch import nn
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

Pair = namedtuple("Pair", ["logits", "features"])


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    loss: torch.Tensor | None = None


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


class Wrapper(torch.Tensor):
    """A tensor without memory of its own, as sharded and quantized weights are."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), dtype=inner.dtype, strides=inner.stride(), requires_grad=inner.requires_grad
        )

    def __init__(self, inner):
        self.inner = inner

    def __tensor_flatten__(self):
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner, meta, size, stride):
        return Wrapper(inner["inner"])

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        unwrapped = tree_map(lambda value: value.inner if isinstance(value, cls) else value, (args, kwargs or {}))
        result = func(*unwrapped[0], **unwrapped[1])
        if func.__name__.split(".")[0].endswith("_") and isinstance(args[0], cls):
            return args[0]
        return tree_map(lambda value: cls(value) if type(value) is torch.Tensor else value, result)


class Tagged(torch.Tensor):
    """A plain subclass, as many libraries have them."""


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Function(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Checkpointed(nn.Module):
    def __init__(self, inner, reentrant):
        super().__init__()
        self.inner, self.reentrant = inner, reentrant

    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=self.reentrant)


class Counting(nn.Module):
    """Keeps state of every kind that modules keep outside of buffers."""

    def __init__(self):
        super().__init__()
        self.calls, self.seen, self.cache = 0, [], {}
        self.register_buffer("average", torch.zeros(()), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.cache["last"] = x.detach()
        if len(self.seen) < 5:
            self.seen.append(tuple(x.shape))
        with torch.no_grad():
            self.average.lerp_(x.detach().float().mean() if x.numel() else self.average, 0.1)
        return x


class Spectrum(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.filter = nn.Parameter(torch.randn(width // 2 + 1, dtype=torch.complex64) * 0.5 + 1)

    def forward(self, x):
        return torch.fft.irfft(torch.fft.rfft(x, dim=-1) * self.filter, n=x.shape[-1], dim=-1)


class Graph(nn.Module):
    """A propagation over a sparse adjacency that is an input, a buffer or made in the forward."""

    def __init__(self, width, where, layout, nodes):
        super().__init__()
        self.linear, self.where, self.layout = nn.Linear(width, width), where, layout
        if where == "buffer":
            self.register_buffer("adjacency", adjacency(nodes, layout))
        if where == "parameter":
            self.adjacency = nn.Parameter(adjacency(nodes, "coo"))

    def forward(self, x, edges=None):
        if self.where == "made":
            edges = adjacency(x.shape[0], self.layout)
        return torch.relu(torch.sparse.mm(self.adjacency if edges is None else edges, self.linear(x)))


def adjacency(nodes, layout):
    dense = torch.eye(nodes) + torch.roll(torch.eye(nodes), 1, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (dense / 2).to_sparse() if layout == "coo" else (dense / 2).to_sparse_csr()


class Nested(nn.Module):
    """Samples of different lengths; the output is one vector for each."""

    def __init__(self, width, layout, given):
        super().__init__()
        self.linear, self.layout, self.given = nn.Linear(width, width), layout, given

    def forward(self, x):
        if not self.given:
            rows = [x[index, : 1 + index % 3].expand(1 + index % 3, -1) for index in range(x.shape[0])] if x.dim() == 3 else [
                row[None].expand(1 + index % 3, -1) for index, row in enumerate(x)
            ]  # fmt: skip
            x = torch.nested.as_nested_tensor(rows, layout=self.layout)
        return torch.stack([part.mean(0) for part in self.linear(x).unbind()])


class Whole(nn.Module):
    """Stem, a random graph of blocks, head, and the form of the output."""

    def __init__(self, stem, blocks, joins, head, form):
        super().__init__()
        self.stem, self.blocks, self.head = stem, nn.ModuleList(blocks), head
        self.joins, self.form = joins, form

    def forward(self, *inputs, **named):
        values = [self.stem(*inputs, **named)]
        for block, (sources, how) in zip(self.blocks, self.joins, strict=True):
            taken = [values[source] for source in sources]
            x = (
                taken[0]
                if len(taken) == 1
                else sum(taken) / len(taken)
                if how == "mean"
                else taken[0] * torch.sigmoid(taken[1])
            )
            values.append(block(x))
        logits = self.head(values[-1])
        if self.form == "tuple":
            return logits, values[-1]
        if self.form == "dict":
            return {"logits": logits, "features": values[-1]}
        if self.form == "namedtuple":
            return Pair(logits, values[-1])
        return Output(logits) if self.form == "object" else logits


class Function_of_sequence(nn.Module):
    """Makes three tokens of each sample, as sequence layers need them."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        batch_first = self.layer.self_attn.batch_first
        tokens = torch.stack([x, x.roll(1, -1), -x], 1 if batch_first else 0)
        return self.layer(tokens).mean(1 if batch_first else 0)


def script(module, trace=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (
            torch.jit.script(module)
            if trace is None
            else torch.jit.trace(module, torch.randn(4, trace), check_trace=False)
        )


def wrapped(module):
    module.weight = nn.Parameter(Wrapper(module.weight.detach()))
    return module


class Bag(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bag = nn.EmbeddingBag(20, width)

    def forward(self, ids, offsets):
        return self.bag(ids, offsets)


class Named(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(6, width)

    def forward(self, x, mask=None):
        return self.linear(x if mask is None else x.masked_fill(~mask, 0.0))


class Two(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.one, self.two = nn.Linear(6, width), nn.Linear(3, width)

    def forward(self, x, parts):
        return self.one(x) + self.two(parts[0]) - self.two(parts[1])
