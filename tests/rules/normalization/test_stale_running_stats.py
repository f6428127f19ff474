"""NRM011 stale-running-stats: running statistics of a trained batch norm that are far from those of the batch."""

from __future__ import annotations

import torch
from torch import nn

from nnlint.testing import features, findings, labels, places
from tests.rules.normalization.modes import net


def trained() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model, inputs, targets = net(), 2.0 * features() + 1.0, labels()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model, inputs


def test_stale_statistics_of_a_trained_model() -> None:
    model, inputs = trained()
    assert findings("NRM011", model, inputs) == []
    assert places(findings("NRM011", model, inputs * 10.0)) == [("warning", "0.1")]  # data preprocessed otherwise
    model[0][1].reset_running_stats()
    assert places(findings("NRM011", model, inputs)) == [("warning", "0.1")]


def test_initial_statistics_of_a_fresh_model_are_silent() -> None:
    assert findings("NRM011", net(), features() * 100.0) == []
