"""Training without what regularizes."""

from __future__ import annotations

import torch
from torch import nn

from nnlint.probes.longer.loop import regularization_off


class Skip(nn.Module):
    """Stochastic depth by a name that says nothing of it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.bernoulli(torch.full((len(x), 1), 0.5)) if self.training else x


class DropletNet(nn.Module):
    """A name that says dropout, and layers that must keep training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


def test_what_regularizes_is_known_by_what_it_holds_not_by_its_name() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Skip(), DropletNet(), nn.Dropout(0.5), nn.ReLU())
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    x = torch.randn(16, 4)
    with regularization_off(model, optimizer):
        assert model[2].training
        assert model[2].norm.training
        assert not model[1].training
        assert torch.equal(model(x), model(x))
        assert optimizer.param_groups[0]["weight_decay"] == 0.0
