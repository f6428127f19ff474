"""What several tests share: for inputs beside the first one, and what is no feature: masks, first states, positions, words of a text."""

from __future__ import annotations

import torch
from torch import nn

import nnlint

GENERATOR = torch.Generator().manual_seed(7)


TOKENS = torch.randint(4, 60, (32, 12), generator=GENERATOR)


def levels(code, model, inputs, **parts):
    report = nnlint.check({"model": model, "inputs": inputs, **parts}, select=[code]).results[0]
    return [item.level.value for item in report.findings]


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attention = nn.Embedding(60, 16), nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens, mask):
        x = self.embed(tokens)
        return self.head(self.attention(x, x, x, attn_mask=mask)[0].mean(1))
