"""SIG009 saturated-attention: attention probabilities that are nearly one-hot before any training."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nnlint


class Attention(nn.Module):
    """Attention over 16 positions of width 64, in one of several spellings."""

    def __init__(self, spelling):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v = (nn.Linear(64, 64) for _ in range(3))
        for layer in (self.q, self.k):
            nn.init.xavier_uniform_(layer.weight)
        self.spelling = spelling

    def forward(self, x):
        return self.spelling(self.q(x), self.k(x), self.v(x))


CAUSAL = torch.ones(16, 16, dtype=torch.bool).tril()


def product(scale, mask=None):
    def attend(q, k, v):
        scores = torch.matmul(q, k.transpose(1, 2))
        if scale != 1.0:
            scores = scores * scale
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return F.softmax(scores, dim=-1) @ v

    return attend


def fused(**options):
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options)


def saturated(spelling, trained=False):
    torch.manual_seed(1)
    model = Attention(spelling)
    if trained:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + 0.3 * torch.randn_like(parameter)).add_(0.02 * parameter.sign())
    result = nnlint.check({"model": model, "inputs": torch.randn(4, 16, 64)}, select=["SIG009"]).results[0]
    return [item.message for item in result.findings], [item.code for item in result.skipped]


@pytest.mark.parametrize(
    "spelling",
    [
        lambda q, k, v: (q @ k.transpose(1, 2)).softmax(-1) @ v,
        lambda q, k, v: torch.einsum("bqk,bkd->bqd", torch.einsum("bqd,bkd->bqk", q, k).softmax(-1), v),
        lambda q, k, v: torch.bmm(F.dropout(F.softmax(torch.bmm(q, k.mT), dim=2), 0.0), v),
        product(4.0),
        product(1.0, CAUSAL),
        fused(scale=1.0),
        fused(scale=1.0, is_causal=True),
        fused(scale=1.0, attn_mask=CAUSAL),
        fused(scale=1.0, attn_mask=torch.zeros(16, 16)),
    ],
    ids=["operator", "einsum", "bmm", "too large", "causal", "fused", "fused causal", "fused mask", "fused additive"],
)
def test_saturated_attention(spelling) -> None:
    messages, _ = saturated(spelling)
    assert len(messages) == 1


class Grouped(nn.Module):
    """Four heads of queries, two of keys and values."""

    def __init__(self, scale):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(64, 32)
        self.scale = scale
        for layer in (self.q, self.k):
            nn.init.normal_(layer.weight, std=1 / 8)

    def forward(self, x):
        q, k, v = (layer(x).unflatten(-1, (-1, 16)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return F.scaled_dot_product_attention(q, k, v, scale=self.scale, enable_gqa=True).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(("scale", "found"), [(2.0, 1), (None, 0)])
def test_grouped_queries_are_looked_at(scale, found) -> None:
    torch.manual_seed(1)
    result = nnlint.check({"model": Grouped(scale), "inputs": torch.randn(4, 16, 64)}, select=["SIG009"]).results[0]
    assert [item.code for item in result.findings] == ["SIG009"] * found


def written_out(x):
    return x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()


@pytest.mark.parametrize("norm", [lambda x: F.layer_norm(x, (64,)), written_out], ids=["layer_norm", "written out"])
def test_norms_of_queries_and_keys_learn_the_scale(norm) -> None:
    def normalized(scale):
        def attend(q, k, v):
            q, k = norm(q), torch.cat([torch.zeros(4, 0, 64), norm(k)], dim=1)
            return F.scaled_dot_product_attention(q * 0.9, k * 0.9, v, scale=scale)

        return attend

    assert saturated(normalized(1.0)) == ([], [])
    assert len(saturated(normalized(4.0))[0]) == 1
    assert "not divided by sqrt(d)" in saturated(lambda q, k, v: fused(scale=1.0)(norm(q), 8 * k, v))[0][0]


def test_a_missing_scale_is_told() -> None:
    assert "not divided by sqrt(d)" in saturated(lambda q, k, v: (q @ k.transpose(1, 2)).softmax(-1) @ v)[0][0]
    assert "not divided by sqrt(d)" not in saturated(product(4.0))[0][0]


@pytest.mark.parametrize(
    "spelling",
    [
        product(1 / math.sqrt(64)),
        product(1 / math.sqrt(64), CAUSAL),
        product(1 / math.sqrt(64), torch.eye(16, dtype=torch.bool)),
        lambda q, k, v: (q / 8 @ k.transpose(1, 2)).softmax(-1) @ v,
        fused(),
        fused(is_causal=True),
        lambda q, k, v: (100 * q).softmax(-1) * v,
        lambda q, k, v: (100 * q).softmax(-1),
        lambda q, k, v: (100 * (q @ k.transpose(1, 2))).softmax(-1),
    ],
    ids=[
        "scaled",
        "causal",
        "diagonal mask",
        "scaled query",
        "fused",
        "fused causal",
        "gate",
        "head",
        "scores returned",
    ],
)
def test_healthy_attention(spelling) -> None:
    assert saturated(spelling) == ([], [])


def test_trained_weights_are_skipped() -> None:
    assert saturated(lambda q, k, v: (q @ k.transpose(1, 2)).softmax(-1) @ v, trained=True) == ([], ["SIG009"])
