"""Evidence `Batch`: the inputs and targets, and more batches of the data where it can be read again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnlint.finding import Location, Skip
from nnlint.probes.guard import StateGuard
from nnlint.probes.guard_walk import named_tensors
from nnlint.setup.batches import split_batch
from nnlint.setup.signature import call_model_name

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup
