"""TRN006 overfits-immediately: A short training learns the training data and not what it has in common with the validation data."""

from __future__ import annotations

import torch
from torch import nn

from tests.rules.training.training import found, mlp, reason


def noise(batches=2, samples=32):
    return [(torch.randn(samples, 20), torch.randint(0, 5, (samples,))) for _ in range(batches)]


def test_a_gap_that_opens_at_once():
    torch.manual_seed(2)
    model = mlp(nn.Dropout(0.1), width=256)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    (finding,) = found("TRN006", model, optimizer, data=noise(), val_data=noise(), deep=True)
    assert finding.level.value == "info"
    assert "regularization: dropout; without it" in finding.message


def test_the_same_kind_of_data_has_no_gap():
    torch.manual_seed(2)
    centers = 2.0 * torch.randn(5, 20)
    batches = [(centers[y] + torch.randn(64, 20), y) for y in [torch.randint(0, 5, (64,)) for _ in range(6)]]
    assert found("TRN006", mlp(), data=batches[:4], val_data=batches[4:], deep=True) == []


def test_validation_data_are_needed():
    assert reason("TRN006", mlp(), deep=True) == "no validation data given"
