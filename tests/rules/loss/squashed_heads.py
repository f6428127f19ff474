"""What several tests share: sigmoid and log_softmax before a loss that applies its own."""

from __future__ import annotations

import torch

MULTI_HOT = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0, 1.0]]).repeat(20, 1)
