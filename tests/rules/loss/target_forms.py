"""What several tests share: what the targets are, against what the loss takes them for."""

from __future__ import annotations

import torch
from torch.nn import functional as F

LABELS = torch.arange(40) % 5


ONE_HOT = F.one_hot(LABELS, 5).float()


MULTI_HOT = (torch.rand(40, 5, generator=torch.Generator().manual_seed(0)) < 0.4).float()


SOFT = torch.rand(40, 5, generator=torch.Generator().manual_seed(0)).softmax(1)


MIXUP = 0.3 * ONE_HOT + 0.7 * ONE_HOT.roll(1, 0)


SMOOTH = 0.9 * ONE_HOT + 0.02
