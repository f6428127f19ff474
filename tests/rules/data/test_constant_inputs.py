"""DAT002 for inputs beside the first one, and what is no feature: masks, first states, positions, words of a text."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.rules.data.constant_inputs import GENERATOR, TOKENS, Masked, levels


@pytest.mark.parametrize("code", ["DAT001", "DAT002"])
def test_additive_masks_are_no_features(code) -> None:
    torch.manual_seed(0)
    assert levels(code, Masked(), (TOKENS, torch.triu(torch.full((12, 12), -math.inf), 1))) == []


@pytest.mark.parametrize("time_major", [False, True])
def test_words_of_a_text_are_no_classes_of_samples(time_major) -> None:
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = (
                nn.Embedding(50, 8),
                nn.GRU(8, 16, batch_first=not time_major),
                nn.Linear(16, 50),
            )

        def forward(self, x):
            return self.head(self.rnn(self.embed(x))[0]).view(-1, 50)

    ids = torch.multinomial(1.0 / torch.arange(1, 51).float(), 36 * 20, replacement=True, generator=GENERATOR).view(
        36, 20
    )
    torch.manual_seed(0)
    targets = ids[1:].reshape(-1) if time_major else ids.roll(-1, 1).reshape(-1)
    inputs = ids[:-1] if time_major else ids
    assert levels("DAT004", Language(), inputs, targets=targets, loss=nn.CrossEntropyLoss()) == []


def test_ignored_labels_are_no_class() -> None:
    labels = (torch.arange(400) % 4).masked_fill(torch.arange(400) >= 40, -100)
    table = torch.randn(400, 6, generator=GENERATOR)
    torch.manual_seed(0)
    assert levels("DAT004", nn.Linear(6, 4), table, targets=labels, loss=nn.CrossEntropyLoss()) == []
