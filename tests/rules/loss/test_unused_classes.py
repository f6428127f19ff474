"""LOS010 unused-classes: far more logits than classes in the data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Mlp, findings, mlp_setup, skipped


@pytest.mark.parametrize(
    ("labels", "outputs", "more", "fires"),
    [
        (torch.arange(320) % 5, 100, {}, True),
        (torch.arange(40) % 5, 100, {"num_classes": 5}, True),
        (torch.arange(320) % 5, 5, {}, False),
        (torch.arange(320) % 5, 30, {}, False),  # 6 times: no proof
        (torch.arange(40) % 5, 100, {}, False),  # too few labels
        (torch.arange(320), 4000, {}, False),  # each label once: more classes would turn up
        (torch.arange(16) % 10, 1000, {}, True),  # chance would not put all of them among the first ten
        (torch.arange(12) % 10, 1000, {}, False),
        (torch.zeros(64, dtype=torch.int64), 1000, {}, False),  # one class: sorted data, or nothing to tell
        (torch.arange(16) * 60, 1000, {}, False),
        (torch.arange(16) % 4 * 5, 1000, {}, False),  # gaps: others will turn up between
        (torch.arange(40) % 5, 5, {"num_classes": 5}, False),
        (torch.where(torch.arange(320) % 2 == 0, -100, torch.arange(320) % 5), 100, {}, False),
    ],
)
def test_surplus_logits(labels: torch.Tensor, outputs: int, more: dict[str, Any], fires: bool) -> None:
    assert bool(findings("LOS010", mlp_setup(None, F.cross_entropy, labels, outputs=outputs, **more))) is fires


def test_labels_of_more_batches_are_read() -> None:
    torch.manual_seed(0)
    data = [(torch.randn(40, 12), torch.arange(40) % 5) for _ in range(10)]
    assert findings("LOS010", {"model": Mlp(200), "data": data, "loss": nn.CrossEntropyLoss()})
    assert not findings("LOS010", {"model": Mlp(200), "data": data[:2], "loss": nn.CrossEntropyLoss()})


def test_a_vocabulary_is_silent() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(500, 16), nn.Linear(16, 500))
    tokens = torch.randint(0, 5, (8, 64))
    loss = lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten())  # noqa: E731
    assert not findings("LOS010", {"model": model, "inputs": tokens, "targets": tokens, "loss": loss})


@pytest.mark.parametrize("code", ["LOS010", "LOS019", "LOS025"])
def test_made_up_labels_are_not_judged(code: str) -> None:
    torch.manual_seed(0)
    assert skipped(code, {"model": Mlp(), "inputs": torch.randn(20, 12), "loss": nn.CrossEntropyLoss()})
