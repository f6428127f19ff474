"""DAT002, DAT005, DAT008, DAT009, DAT013: what the inputs hold and where they go."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.data.values import IMAGES, TABLE, changed, check, conv, flat


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (TABLE, []),
        (torch.full((64, 12), 3.0), ["error"]),
        (torch.zeros(64, 12), ["error"]),
        (TABLE[:1].expand(64, 12), ["error"]),
        (changed(TABLE, (slice(None), 4), 3.7), ["warning"]),
        (changed(TABLE, (slice(None), 4), 3.7)[:16], []),
        (changed(TABLE, (slice(None), 4), 0.0), []),  # may be a rare flag: 64 samples are too few
        (changed(TABLE, (slice(None), 4), 0.0).repeat(8, 1), ["warning"]),
        ((TABLE > 1.5).float().repeat(8, 1) * (torch.arange(12) != 4), []),  # sparse
    ],
    ids=["varied", "constant", "zeros", "one sample", "column", "small", "flag", "zero column", "sparse"],
)
def test_constant_columns(inputs, expected) -> None:
    assert check("DAT002", flat(), inputs) == expected


def test_borders_of_images_are_silent_and_channels_are_not() -> None:
    bordered = torch.zeros(64, 3, 12, 12)
    bordered[:, :, 2:-2, 2:-2] = IMAGES[:, :, 2:-2, 2:-2]
    assert check("DAT002", conv(), bordered) == []
    assert check("DAT002", conv(), changed(IMAGES, (slice(None), 1), 0.25)) == ["warning"]


def test_padding_and_initial_states_are_silent() -> None:
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(12, 8, batch_first=True)

        def forward(self, x, h):
            return self.rnn(x, h)[0]

    sequences = torch.randn(64, 5, 12)
    sequences[:, 3:] = 0.0
    assert check("DAT002", Recurrent(), (sequences, torch.zeros(1, 64, 8))) == []


def test_identical_token_rows_are_an_error() -> None:
    model = nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(48, 4))
    assert check("DAT002", model, torch.ones(16, 6, dtype=torch.long)) == ["error"]
    assert check("DAT002", model, torch.randint(0, 50, (16, 6))) == []
