"""LOS004 log-softmax-before-cross-entropy: log-softmax before a loss that applies it itself."""

from __future__ import annotations

from torch import nn

from nnlint.finding import Level
from nnlint.testing import findings, mlp_setup


def test_redundant_log_softmax_is_info() -> None:
    (found,) = findings("LOS004", mlp_setup(nn.LogSoftmax(dim=1), nn.CrossEntropyLoss()))
    assert found.level is Level.INFO
    assert not findings("LOS004", mlp_setup(nn.LogSoftmax(dim=1), nn.NLLLoss()))
    assert not findings("LOS004", mlp_setup(None, nn.CrossEntropyLoss()))
