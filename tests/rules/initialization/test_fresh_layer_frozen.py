"""INI014 fresh-layer-frozen: heads that were really trained; small ones look like drawn ones, and do not work like them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnlint.testing import findings


class Headed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.body(x))


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda p: torch.optim.Adam(p, lr=1e-2), 60),
        (lambda p: torch.optim.SGD(p, lr=0.1), 150),
        (lambda p: torch.optim.AdamW(p, lr=1e-3), 150),
    ],
)
def test_a_trained_head_that_stays_as_it_is(make, steps) -> None:
    torch.manual_seed(0)
    model, x = Headed(), torch.randn(64, 20)
    y = (x @ torch.randn(20, 5)).argmax(1)
    more = {"targets": y, "loss": nn.CrossEntropyLoss()}
    model.head.requires_grad_(False)
    fresh = torch.optim.AdamW(model.body.parameters(), lr=1e-3)
    assert [item.module for item in findings("INI014", model, x, optimizer=fresh, **more)] == ["head"]
    model.head.requires_grad_(True)
    optimizer = make(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.head.requires_grad_(False)
    again = torch.optim.AdamW(model.body.parameters(), lr=1e-3)
    assert findings("INI014", model, x, optimizer=again, **more) == []
