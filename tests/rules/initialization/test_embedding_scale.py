"""INI011 embedding-scale: an embedding shared with the output layer whose scale makes the first logits huge."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import checked, findings, labels, places


class Tied(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self, std: float = 1.0, scale: float = 1.0, width: int = 64):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.norm, self.scale = nn.Embedding(100, width), nn.LayerNorm(width), scale
        self.mix = nn.Linear(width, width)
        nn.init.normal_(self.embedding.weight, std=std)

    def forward(self, tokens):
        hidden = self.norm(torch.tanh(self.mix(self.embedding(tokens))))
        return F.linear(hidden * self.scale, self.embedding.weight).transpose(1, 2)


TOKENS = torch.randint(0, 100, (16, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("model", "levels"),
    [
        (Tied(), ["error"]),
        (Tied(std=0.2), ["warning"]),
        (Tied(std=0.02), []),
        (Tied(scale=64**-0.5), []),
    ],
    ids=["torch default", "smaller", "small", "scaled hidden state"],
)
def test_tied_embedding(model, levels) -> None:
    assert [level for level, _ in places(findings("INI011", model, TOKENS[:, :-1], TOKENS[:, 1:]))] == levels


class ByHand(Tied):
    """The same head, written as a product."""

    def __init__(self, write, std: float = 1.0):
        super().__init__(std)
        self.write = write

    def forward(self, tokens):
        return self.write(self.norm(torch.tanh(self.mix(self.embedding(tokens)))), self.embedding.weight).transpose(1, 2)


@pytest.mark.parametrize(
    "write",
    [
        lambda hidden, weight: hidden @ weight.t(),
        lambda hidden, weight: torch.matmul(hidden, weight.transpose(0, 1)),
        lambda hidden, weight: torch.einsum("btd,vd->btv", hidden, weight),
        lambda hidden, weight: (hidden.flatten(0, 1) @ weight.T.contiguous()).unflatten(0, hidden.shape[:2]),
    ],
    ids=["t", "transpose", "einsum", "flat"],
)
def test_a_head_written_as_a_product_is_tied_too(write) -> None:
    targets = TOKENS[:, 1:]
    assert [level for level, _ in places(findings("INI011", ByHand(write), TOKENS[:, :-1], targets))] == ["error"]
    assert findings("INI011", ByHand(write, std=0.02), TOKENS[:, :-1], targets) == []


def test_untied_head_is_silent() -> None:
    model = nn.Sequential(nn.Embedding(100, 64), nn.LayerNorm(64), nn.Flatten(), nn.Linear(512, 5))
    assert findings("INI011", model, TOKENS[:, :8], labels(16)) == []


def test_tied_embedding_without_loss_is_skipped() -> None:
    report = checked("INI011", Tied(), TOKENS)
    assert [item.code for item in report.skipped] == ["INI011"]
