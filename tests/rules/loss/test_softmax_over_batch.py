"""LOS008: which dimension is the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Level
from nnlint.testing import findings, mlp_setup

CODE = "LOS008"


@pytest.mark.parametrize(
    ("head", "loss"),
    [
        (lambda z: F.log_softmax(z, dim=0), nn.NLLLoss()),
        (nn.LogSoftmax(dim=0), nn.NLLLoss()),
        (lambda z: z.softmax(0), nn.CrossEntropyLoss()),
        (lambda z: z.softmax(-2).log(), nn.NLLLoss()),
        (lambda z: F.normalize(z, dim=0), nn.CrossEntropyLoss()),
    ],
)
def test_over_the_batch(head: Callable[..., Any], loss: Callable[..., Any]) -> None:
    (found,) = findings(CODE, mlp_setup(head, loss))
    assert found.level is Level.ERROR


@pytest.mark.parametrize(
    ("head", "loss"),
    [
        (nn.LogSoftmax(dim=1), nn.NLLLoss()),
        (F.normalize, nn.CrossEntropyLoss()),
        (lambda z: z.softmax(-1), nn.CrossEntropyLoss()),
        (lambda z: z.T.log_softmax(0).T, nn.NLLLoss()),
    ],
)
def test_over_the_classes_is_silent(head: Callable[..., Any], loss: Callable[..., Any]) -> None:
    assert not findings(CODE, mlp_setup(head, loss))


def test_contrastive_logits_are_silent() -> None:
    def clip(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        similarity = output @ output.T
        return -(similarity.log_softmax(0).diagonal() + similarity.log_softmax(1).diagonal()).mean()

    assert not findings(CODE, mlp_setup(F.normalize, clip))


class Attention(nn.Module):
    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.score, self.head, self.dim = nn.Linear(12, 1), nn.Linear(12, 5), dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = F.softmax(self.score(x), dim=self.dim)
        return self.head((weights * x).sum(1))


@pytest.mark.parametrize(("dim", "wrong"), [(0, True), (1, False), (None, True)])
def test_attention_over_the_batch(dim: int | None, wrong: bool) -> None:
    """Without `dim`, torch takes dimension 0 of three."""
    torch.manual_seed(0)
    case = {
        "model": Attention(dim),
        "inputs": torch.randn(8, 6, 12),
        "targets": torch.arange(8) % 5,
        "loss": F.cross_entropy,
    }
    assert [found.level for found in findings(CODE, case)] == [Level.ERROR] * wrong


def test_no_dimension_is_an_info_where_torch_picks_the_classes() -> None:
    (found,) = findings(CODE, mlp_setup(nn.Softmax(dim=None), nn.MSELoss(), torch.rand(40, 5)))
    assert found.level is Level.INFO


class Bag(nn.Module):
    """Attention over the instances of one bag: the first dimension is no batch, one prediction comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.head = nn.Linear(12, 1), nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.score(x).softmax(0) * x).sum(0, keepdim=True))


def test_one_bag_is_silent() -> None:
    torch.manual_seed(0)
    case = {"model": Bag(), "inputs": torch.randn(30, 12), "targets": torch.tensor([1]), "loss": F.cross_entropy}
    assert not findings(CODE, case)


class TimeMajor(nn.Module):
    """(T, B, features): softmax over time."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.score, self.head = nn.GRU(12, 12), nn.Linear(12, 1), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.rnn(x)
        return self.head(states + (self.score(states).softmax(0) * states).sum(0, keepdim=True))


def test_time_major_is_silent() -> None:
    torch.manual_seed(0)
    loss = lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten())  # noqa: E731
    case = {"model": TimeMajor(), "inputs": torch.randn(7, 4, 12), "targets": torch.randint(0, 5, (7, 4)), "loss": loss}
    assert not findings(CODE, case)


class Prototypes(nn.Module):
    """Normalizes its weights, not its samples."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(x) @ F.normalize(self.weight, dim=0)


@pytest.mark.parametrize("samples", [12, 8])
def test_normalized_weights_are_silent(samples: int) -> None:
    torch.manual_seed(0)
    case = {
        "model": Prototypes(),
        "inputs": torch.randn(samples, 12),
        "targets": torch.arange(samples) % 5,
        "loss": F.cross_entropy,
    }
    assert not findings(CODE, case)


def test_static() -> None:
    assert findings(CODE, mlp_setup(nn.LogSoftmax(dim=0), nn.NLLLoss()), static=True)
