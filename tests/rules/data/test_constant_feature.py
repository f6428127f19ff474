"""DAT002 constant-feature: an input feature that is the same for every sample, or an input without any variation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import nnlint
from tests.rules.data.constant_inputs import GENERATOR, TOKENS, Masked, levels

SERIES = torch.randn(32, 12, 3, generator=GENERATOR)


TABLE = torch.randn(32, 6, generator=GENERATOR)


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(60, 16), nn.Embedding(60, 16)
        self.encoder, self.decoder, self.head = (
            nn.GRU(16, 16, batch_first=True),
            nn.GRU(16, 16, batch_first=True),
            nn.Linear(16, 60),
        )

    def forward(self, src, tgt):
        return self.head(self.decoder(self.target(tgt), self.encoder(self.source(src))[1])[0])


class Typed(nn.Module):
    def __init__(self, types):
        super().__init__()
        self.words, self.types, self.head = nn.Embedding(60, 16), nn.Embedding(types, 16), nn.Linear(16, 3)

    def forward(self, tokens, kinds):
        return self.head((self.words(tokens) + self.types(kinds)).mean(1))


class Beside(nn.Module):
    """A series and further numbers for each position."""

    def __init__(self):
        super().__init__()
        self.rnn, self.known, self.head = nn.GRU(3, 16, batch_first=True), nn.Linear(2, 16), nn.Linear(16, 2)

    def forward(self, series, known):
        return self.head(self.rnn(series)[0] + self.known(known))


class State(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(3, 16, batch_first=True), nn.Linear(16, 2)

    def forward(self, series, state):
        return self.head(self.rnn(series, state)[0])


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.scale = nn.Linear(6, 16), nn.Linear(1, 16)

    def forward(self, x, scale):
        return self.body(x) + self.scale(scale)


class Crossed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Embedding(60, 16), nn.Linear(3, 16), nn.Linear(16, 3)

    def forward(self, tokens, series):
        q, k = self.a(tokens), self.b(series)
        return self.head(functional.scaled_dot_product_attention(q, k, k).mean(1))


@pytest.mark.parametrize(
    ("model", "inputs", "expected"),
    [
        (Translator, (TOKENS, torch.full((32, 9), 2)), ["error"]),
        (Translator, (TOKENS, torch.zeros(32, 9, dtype=torch.long)), ["error"]),
        (Beside, (SERIES, torch.full((32, 12, 2), 0.5)), ["error"]),
        (Beside, (SERIES, torch.zeros(32, 12, 2)), ["warning"]),
        (Crossed, (TOKENS, torch.ones(32, 12, 3)), ["error"]),
        (lambda: Typed(60), {"tokens": TOKENS, "kinds": torch.full((32, 12), 40)}, ["error"]),
        (Translator, (TOKENS, TOKENS[:, :9]), []),
        (Beside, (SERIES, SERIES[..., :2]), []),
        (State, (SERIES, torch.zeros(1, 32, 16)), []),
        (Gated, (TABLE, torch.ones(32, 1)), []),
        (Masked, (TOKENS, torch.zeros(12, 12)), []),
        (Masked, (TOKENS, torch.triu(torch.full((12, 12), -math.inf), 1)), []),
    ],
    ids=[
        "start token only", "zeros for ids", "constant series", "zero series", "constant keys", "one word", "decoder input",
        "two series", "first state", "one number a sample", "open mask", "causal mask",
    ],
)  # fmt: skip
def test_other_inputs(model, inputs, expected) -> None:
    torch.manual_seed(0)
    assert levels("DAT002", model(), inputs) == expected


def test_types_of_tokens_may_be_of_one_kind() -> None:
    torch.manual_seed(0)
    assert levels("DAT002", Typed(2), (TOKENS, torch.zeros(32, 12, dtype=torch.long))) == []


def test_an_input_that_varies_between_batches_is_silent() -> None:
    torch.manual_seed(0)
    batches = [((TOKENS, torch.full((32, 9), 2 + number)), TOKENS[:, :9]) for number in range(2)]
    data = [(*inputs, targets) for inputs, targets in batches]

    def loss(output, target):
        return functional.cross_entropy(output.flatten(0, 1), target.flatten())

    report = nnlint.check({"model": Translator(), "data": data, "loss": loss}, select=["DAT002"]).results[0]
    assert [item.message for item in report.findings] == []


def test_first_position_of_a_series_in_one_table_may_be_constant() -> None:
    class Univariate(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.rnn(x.unsqueeze(-1))[1][-1])

    series = torch.randn(64, 20, generator=GENERATOR).cumsum(1)
    series[:, 0] = 2.5
    torch.manual_seed(0)
    assert levels("DAT002", Univariate(), series) == []


def test_no_bias_towards_the_padding_is_advised() -> None:
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(50, 8), nn.GRU(8, 16, batch_first=True), nn.Linear(16, 50)

        def forward(self, x):
            return self.head(self.rnn(self.embed(x))[0])

    lengths = torch.arange(64) % 6 + 3
    ids = torch.randint(1, 50, (64, 21), generator=GENERATOR).masked_fill(torch.arange(21) >= lengths[:, None], 0)

    def loss(output, target):
        mask = target != 0
        each = functional.cross_entropy(output.flatten(0, 1), target.flatten(), reduction="none")
        return (each * mask.flatten()).sum() / mask.sum()

    torch.manual_seed(0)
    assert levels("LOS019", Language(), ids[:, :-1], targets=ids[:, 1:], loss=loss) == []
