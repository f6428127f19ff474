"""How peaked the probabilities of an attention are, from what its softmax, or the fused op, was given."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

#: A query counts when it may look at this many keys: the first rows under a causal mask are peaked by nature.
_FEWEST_KEYS = 8
_ROWS = 8  # leading entries (samples, or samples x heads) that are looked at
_QUERIES = 64
_MASKED = -1e4  # scores below are those of masked keys


def attention_peak(
    node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """The number "peak": mean over queries of the largest probability; nothing for other ops, NaN where no query counts."""
    name = node.meta["name"]
    try:
        if name == "softmax":
            return _of_softmax(output, args, kwargs)
        return _of_fused(args, kwargs) if name == "scaled_dot_product_attention" else {}
    except (RuntimeError, IndexError, TypeError):
        return {}  # a form of mask or layout not known here must not look like a fault of the user's forward


def _of_softmax(output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, torch.Tensor]:
    scores = args[0] if args else kwargs.get("input")
    dim = args[1] if len(args) > 1 and isinstance(args[1], int) else kwargs.get("dim")
    if output.dim() < 3 or dim not in (-1, output.dim() - 1) or not isinstance(scores, torch.Tensor):
        return {}
    if output.shape[-1] < _FEWEST_KEYS or scores.shape != output.shape:
        return {}
    return {"peak": _peak(scores[:_ROWS].detach(), output[:_ROWS])}


def _of_fused(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, torch.Tensor]:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = dict(zip(names, args, strict=False)) | kwargs
    query, key, mask = given.get("query"), given.get("key"), given.get("attn_mask")
    if not isinstance(query, torch.Tensor) or not isinstance(key, torch.Tensor) or key.shape[-2] < _FEWEST_KEYS:
        return {}
    if query.is_nested or query.dim() < 3 or not query.shape[0]:
        return {}
    if given.get("enable_gqa") and query.dim() == key.dim():  # grouped queries: several heads look at the same keys
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    if query.shape[:-2] != key.shape[:-2]:
        return {}
    chosen = torch.linspace(0, query.shape[-2] - 1, min(query.shape[-2], _QUERIES)).long().to(query.device)
    scale = given.get("scale") or 1.0 / math.sqrt(query.shape[-1])
    few = query[:1].detach().float().index_select(-2, chosen)
    scores = few @ key[:1].detach().float().transpose(-2, -1) * scale
    if given.get("is_causal"):
        scores = scores.masked_fill(torch.arange(key.shape[-2], device=query.device) > chosen[:, None], -math.inf)
    if isinstance(mask, torch.Tensor):
        scores = _masked(scores, mask.detach(), chosen)
    return {"peak": _peak(scores, scores.softmax(dim=-1))}


def _masked(scores: torch.Tensor, mask: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    mask = mask[:1] if mask.dim() == scores.dim() else mask
    rows = mask.index_select(-2, chosen) if mask.dim() > 1 and mask.shape[-2] > 1 else mask
    return scores.masked_fill(~rows, -math.inf) if rows.dtype is torch.bool else scores + rows.float()


def _peak(scores: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """Mean of the largest probability over the queries with enough keys."""
    counts = (scores > _MASKED).sum(dim=-1) >= _FEWEST_KEYS
    largest = torch.where(counts, probabilities.float().amax(dim=-1), 0.0)
    return largest.sum() / counts.sum()
