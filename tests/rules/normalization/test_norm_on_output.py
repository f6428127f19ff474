"""NRM013 norm-on-output: batch norm as the last layer before the loss."""

from __future__ import annotations

import torch
from torch import nn

from nnlint.testing import features, findings, labels, places
from tests.rules.normalization.output import head


def test_norm_on_output() -> None:
    assert places(findings("NRM013", head(nn.BatchNorm1d(5)), features(), labels())) == [("warning", "3")]


def test_norm_on_a_regression_output() -> None:
    model = nn.Sequential(nn.Linear(20, 1), nn.BatchNorm1d(1))
    assert places(findings("NRM013", model, features(), torch.randn(64, 1), loss=nn.MSELoss())) == [("warning", "1")]
