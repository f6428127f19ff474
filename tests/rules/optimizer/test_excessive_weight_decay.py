"""OPT009 excessive-weight-decay: weight decay that pulls harder than the loss."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.optimizer.learning_rates import found, mlp


@pytest.mark.parametrize(
    ("make", "fires"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.01, weight_decay=0.5), True),
        (lambda p: torch.optim.Adam(p, lr=1e-3, weight_decay=0.5), True),
        (lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=30.0), True),
        (lambda p: torch.optim.SGD(p, lr=0.01, weight_decay=5e-4), False),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4), False),
        (lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.1), False),
        (lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.3), False),
        (lambda p: torch.optim.Adam(p, lr=1e-3), False),
    ],
)
def test_decay_against_the_gradient(make, fires):
    model = mlp()
    assert bool(found("OPT009", model, make(model.parameters()))) is fires


def test_groups_without_decay_do_not_count():
    model = mlp()
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.0},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 5.0},
    ]
    assert found("OPT009", model, torch.optim.SGD(groups, lr=0.01)) == []


def test_a_net_at_its_regularized_optimum_is_at_balance():
    model = nn.Linear(20, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=0.05)
    torch.manual_seed(1)
    inputs, targets = torch.randn(64, 20), torch.arange(64) % 5
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    assert found("OPT009", model, optimizer, inputs=inputs, targets=targets) == []
