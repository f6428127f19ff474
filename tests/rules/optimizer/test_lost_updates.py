"""OPT004 and OPT009 where updates or gradients vanish altogether."""

from __future__ import annotations

import torch
from torch import nn

import nnlint


def found(code: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    torch.manual_seed(0)
    setup = {
        "model": model,
        "inputs": torch.randn(64, 20),
        "targets": torch.arange(64) % 5,
        "loss": nn.CrossEntropyLoss(),
    }
    report = nnlint.check({**setup, "optimizer": optimizer}, select=(code,))
    assert not report.results[0].skipped
    return [item.message for item in report.findings]


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))


def test_updates_below_the_precision_of_the_weights() -> None:
    model = mlp()
    (message,) = found("OPT004", model, torch.optim.SGD(model.parameters(), lr=1e-9))
    assert "changes no weight tensor" in message


class Constant(nn.Module):
    """Nothing of the layers reaches the output."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x) * 0.0


def test_without_a_gradient_neither_rate_nor_decay_is_to_blame() -> None:
    model = Constant()
    assert found("OPT004", model, torch.optim.SGD(model.parameters(), lr=1e-2)) == []
    assert found("OPT009", model, torch.optim.AdamW(model.parameters(), lr=1e-3)) == []
