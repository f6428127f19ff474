"""What several tests share: ."""

from __future__ import annotations

import torch

IMAGE = torch.randn(4, 3, 8, 8)
