"""INI008 selu-init: SELU layers whose weights are not of LeCun scale, or SELU outputs with plain dropout."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, features, findings, labels, places


def selu(*, lecun: bool, dropout: nn.Module | None = None, norm: bool = False, layers: int = 3) -> nn.Module:
    torch.manual_seed(0)
    made: list[nn.Module] = []
    for index in range(layers):
        layer = nn.Linear(20 if index == 0 else 64, 64)
        if lecun:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        made += [layer, *([nn.BatchNorm1d(64)] if norm else []), nn.SELU(), *([dropout] if dropout is not None else [])]
    return nn.Sequential(*made, nn.Linear(64, 5))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (selu(lecun=False), [("warning", "0")]),
        (selu(lecun=True), []),
        (selu(lecun=True, dropout=nn.AlphaDropout(0.1)), []),
        (selu(lecun=True, dropout=nn.Dropout(0.1)), [("warning", "2")]),
        (selu(lecun=True, dropout=nn.Dropout(0.0)), []),
        (selu(lecun=False, norm=True), []),
        (selu(lecun=False, layers=1), []),
        (nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5)), []),
    ],
    ids=["default", "lecun", "alpha dropout", "dropout", "p = 0", "normalized", "one selu", "no selu"],
)
def test_selu(model, expected) -> None:
    assert places(findings("INI008", model, features(), labels())) == expected


def test_functional_selu() -> None:
    model = Net(
        lambda m, x: m.c(F.selu(m.b(torch.selu(m.a(x))))), a=nn.Linear(20, 64), b=nn.Linear(64, 64), c=nn.Linear(64, 5)
    )
    assert places(findings("INI008", model, features(), labels())) == [("warning", "a")]
