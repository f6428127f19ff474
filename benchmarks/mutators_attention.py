"""Operators on attention; see benchmarks/mutators.py."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from benchmarks.mutation_tools import Fields, called, renew, replace, trace
from benchmarks.mutators import Mutant, operator


class HandMade(nn.Module):
    """Attention as one writes it by hand, with `nn.MultiheadAttention`'s way of being called."""

    def __init__(self, old: nn.MultiheadAttention, *, dim: int = -1, heads: int = 1, is_scaled: bool = True) -> None:
        super().__init__()
        width = old.embed_dim
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.dim, self.heads, self.is_scaled = dim, heads, is_scaled
        # What the encoder layers of torch ask their attention before they take a fused path, which this one has not.
        self.batch_first, self.num_heads, self._qkv_same_embed_dim = old.batch_first, old.num_heads, False
        self.in_proj_bias = self.in_proj_weight = None

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **_: Any
    ) -> tuple[torch.Tensor, None]:
        q, k, v = (self._split(part) for part in (self.query(query), self.key(key), self.value(value)))
        scores = q @ k.transpose(-2, -1)
        if self.is_scaled:
            scores = scores / math.sqrt(q.shape[-1])
        mixed = (torch.softmax(scores, dim=self.dim) @ v).transpose(1, 2).flatten(2)
        return self.out(mixed), None

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def attention_of(fields: Fields, smallest: int = 2) -> tuple[str, nn.MultiheadAttention] | None:
    """A batch-first self-attention without masks, over at least `smallest` positions."""
    usable: list[tuple[str, nn.MultiheadAttention]] = []

    def note(path: str) -> Any:
        def look(module: nn.MultiheadAttention, given: tuple[Any, ...], more: dict[str, Any]) -> None:
            masks = [more.get("attn_mask"), more.get("key_padding_mask"), *given[3:]]
            fits = len(given) >= 3 and given[0].dim() == 3 and min(part.shape[1] for part in given[:2]) >= smallest
            if fits and module.batch_first and all(mask is None for mask in masks):
                usable.append((path, module))

        return look

    named = [
        (path, module) for path, module in fields["model"].named_modules() if type(module) is nn.MultiheadAttention
    ]
    hooks = [module.register_forward_pre_hook(note(path), with_kwargs=True) for path, module in named]
    trace(fields)
    for hook in hooks:
        hook.remove()
    counts = [path for path, _ in usable]
    return next(((path, module) for path, module in usable if counts.count(path) == 1), None)


@operator("softmax over the queries", "ARC027")
def over_the_queries(fields: Fields) -> Mutant | None:
    found = attention_of(fields)
    if found is None:
        return None
    path, old = found
    replace(fields["model"], path, HandMade(old, dim=-2, heads=old.num_heads))
    return Mutant(renew(fields), (path,))


@operator("scores not divided by the root of the width", "SIG009")
def unscaled_scores(fields: Fields) -> Mutant | None:
    """One head of at least 32 features, its queries and keys of unit variance as the root assumes."""
    found = attention_of(fields, smallest=8)
    if found is None or found[1].embed_dim < 32:
        return None
    path, old = found
    new = HandMade(old, is_scaled=False)
    replace(fields["model"], path, new)
    _standardize(fields, new.query)
    _standardize(fields, new.key)
    return Mutant(renew(fields), (path,))


def _standardize(fields: Fields, layer: nn.Linear) -> None:
    """Scale a layer's weights to outputs that differ between positions with unit variance."""
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda *parts: seen.append(parts[2].detach()))
    with torch.no_grad(), torch.random.fork_rng():
        called(fields["model"], fields["inputs"])
    hook.remove()
    layer.weight.data.div_(float(seen[0].std(dim=1).mean()))


def _positions(fields: Fields, layer: nn.Linear) -> int:
    """How many positions a layer is given."""
    calls = [call for call in trace(fields).calls if call.module is layer]
    return int(calls[0].given.shape[1]) if calls and calls[0].given.dim() == 3 else 0


@operator("attention with the scale 1", "SIG009")
def scale_of_one(fields: Fields) -> Mutant | None:
    """The same for a library's attention over at least eight positions; its `scaling` is the factor of its scores."""
    for path, module in fields["model"].named_modules():
        scaling, width = (
            vars(module).get("scaling"),
            vars(module).get("head_dim", vars(module).get("attention_head_size")),
        )
        parts = [getattr(module, name, None) for names in (("q_proj", "k_proj"), ("query", "key")) for name in names]
        layers = [part for part in parts if isinstance(part, nn.Linear)]
        if isinstance(scaling, float) and scaling < 0.5 and isinstance(width, int) and len(layers) == 2:
            if _positions(fields, layers[1]) < 8:
                continue
            module.scaling = 1.0
            for layer in layers:
                # Unit variance for inputs of unit variance, and twice that: tiny models have heads of 16 features only.
                layer.weight.data.normal_(0.0, 2.0 / math.sqrt(layer.in_features))
            return Mutant(fields, (path,))
    return None
