"""What several tests share: momentum and the number of values of a norm."""

from __future__ import annotations

import torch

POINTS = torch.randn(16, 8, 1, 1, generator=torch.Generator().manual_seed(0))
