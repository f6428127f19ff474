"""What several tests share: samples that become one and the same, and values that half precision cannot hold."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def scores(h):
    return F.linear(F.linear(200.0 * h, torch.eye(32)) @ (200.0 * h).t(), torch.ones(32, 16))
