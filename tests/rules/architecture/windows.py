"""What several tests share: what kernels read, and what a flattening costs."""

from __future__ import annotations

import torch

IMAGE = torch.randn(2, 3, 16, 16)
