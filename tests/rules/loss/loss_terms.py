"""What several tests share: the terms of a loss and the targets it compares with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

BATCH = (torch.arange(40) % 5, torch.randn(40, generator=torch.Generator().manual_seed(0)))


class Tasks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.classes, self.number = nn.Linear(12, 32), nn.Linear(32, 5), nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.body(x))
        return self.classes(hidden), self.number(hidden)[:, 0]


def tasks(loss: Any, batch: Any = BATCH) -> dict[str, Any]:
    return {"model": Tasks(), "inputs": torch.randn(40, 12), "targets": batch, "loss": loss}
