"""INI004 undersized-weights: weights a twentieth of the LeCun scale or less, in a stack at whose end the input is no longer to be seen."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, features, findings, labels, places
from tests.rules.initialization.weight_scale import deep, normal


def test_undersized() -> None:
    reported = findings("INI004", deep(3, init=normal(0.001)), features(), labels())
    assert places(reported) == [("warning", "0")]
    assert reported[0].evidence["signal"] < 1e-3


def transformer_block() -> nn.Module:
    torch.manual_seed(0)
    model = Net(
        lambda m, x: m.head(m.stem(x) + m.b(F.gelu(m.a(m.norm(m.stem(x)))))),
        stem=nn.Linear(20, 16),
        norm=nn.LayerNorm(16),
        a=nn.Linear(16, 64),
        b=nn.Linear(64, 16),
        head=nn.Linear(16, 5),
    )
    for layer in (model.a, model.b):
        nn.init.normal_(layer.weight, std=0.001)
    return model


def small_head() -> nn.Module:
    model = deep(3)
    nn.init.normal_(model[-1].weight, std=0.001)
    return model


def small_before_norm() -> nn.Module:
    return deep(3, norm=True, init=normal(0.001))


@pytest.mark.parametrize(
    "model",
    [deep(3), small_head(), transformer_block(), small_before_norm()],
    ids=["default", "head", "branch", "norm"],
)
def test_not_undersized(model) -> None:
    assert findings("INI004", model, features(), labels()) == []
