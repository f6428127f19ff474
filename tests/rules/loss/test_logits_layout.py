"""LOS023: where the classes are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings, skipped

CODE = "LOS023"


class Tagger(nn.Module):
    def __init__(self, tags: int, after: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.head, self.after = nn.Linear(12, tags), after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.head(x))


def case(
    words: int, tags: int, after: Callable[..., Any], loss: Callable[..., Any] = F.cross_entropy, **more: Any
) -> dict[str, Any]:
    torch.manual_seed(0)
    targets = more.pop("targets", torch.randint(0, tags, (8, words)))
    return {"model": Tagger(tags, after), "inputs": torch.randn(8, words, 12), "targets": targets, "loss": loss, **more}


def same(z: torch.Tensor) -> torch.Tensor:
    return z


@pytest.mark.parametrize(
    ("words", "tags", "after", "loss"),
    [
        (6, 6, same, F.cross_entropy),
        (6, 6, lambda z: F.dropout(z, 0.1), F.cross_entropy),
        (6, 6, lambda z: z.log_softmax(-1), F.nll_loss),
        (7, 4, same, F.cross_entropy),  # torch raises
        (4, 7, same, F.cross_entropy),
    ],
)
def test_classes_last(words: int, tags: int, after: Callable[..., Any], loss: Callable[..., Any]) -> None:
    (found,) = findings(CODE, case(words, tags, after, loss))
    assert found.module == "head"
    assert "transpose" in found.fix


def test_distributions_over_the_last_dimension() -> None:
    soft = torch.rand(8, 7, 4).softmax(-1)
    assert findings(CODE, case(7, 4, same, targets=soft))
    assert not findings(CODE, case(7, 4, lambda z: z.transpose(1, 2), targets=soft.transpose(1, 2)))


@pytest.mark.parametrize(
    ("words", "tags", "after", "loss"),
    [
        (6, 6, lambda z: z.transpose(1, 2), F.cross_entropy),
        (7, 4, lambda z: z.permute(0, 2, 1), F.cross_entropy),
        (7, 4, same, lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten())),
        (6, 6, same, lambda o, t: F.cross_entropy(o.mT, t)),
    ],
)
def test_classes_second_are_silent(words: int, tags: int, after: Callable[..., Any], loss: Callable[..., Any]) -> None:
    assert not findings(CODE, case(words, tags, after, loss))


def test_a_linear_layer_over_positions_is_silent() -> None:
    """(N, C, length) through a linear layer over the length: the classes are in dimension 1."""
    assert not findings(CODE, case(4, 7, same, targets=torch.randint(0, 4, (8, 7))))


def test_images_are_silent() -> None:
    torch.manual_seed(0)
    segmentation = {
        "model": nn.Conv2d(3, 8, 3, padding=1),
        "inputs": torch.randn(4, 3, 8, 8),
        "targets": torch.randint(0, 8, (4, 8, 8)),
        "loss": nn.CrossEntropyLoss(),
    }
    assert not findings(CODE, segmentation)


def test_made_up_labels_are_not_judged() -> None:
    made_up = case(6, 6, same)
    del made_up["targets"]
    assert skipped(CODE, made_up)
