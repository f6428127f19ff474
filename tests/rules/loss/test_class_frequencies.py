"""LOS010, LOS019, LOS025: which labels occur, and how often."""

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


RARE = (torch.arange(200) % 20 == 0).long()


def test_prior_of_classes() -> None:
    (found,) = findings("LOS019", mlp_setup(None, F.cross_entropy, RARE, outputs=2))
    assert found.module == "fc2"
    assert found.evidence["loss_then"] < found.evidence["loss_now"] - 0.25
    assert "set the bias" in found.fix


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_that_are_all_the_same_have_no_prior(label: float) -> None:
    assert not findings("LOS019", mlp_setup(None, nn.BCEWithLogitsLoss(), torch.full((200, 1), label), outputs=1))
    assert not findings("LOS019", mlp_setup(None, F.cross_entropy, torch.full((200,), int(label)), outputs=2))


class Cosines(nn.Module):
    """A classifier on the sphere, with a temperature of 0.05."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(12, 16)
        self.prototypes = nn.Parameter(torch.randn(2, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 20 * F.linear(F.normalize(self.body(x), dim=1), F.normalize(self.prototypes, dim=1))


def test_cosines_have_no_bias_to_set() -> None:
    torch.manual_seed(0)
    case = {"model": Cosines(), "inputs": torch.randn(200, 12), "targets": RARE, "loss": nn.CrossEntropyLoss()}
    assert not findings("LOS019", case)


def test_prior_of_a_binary_head() -> None:
    (found,) = findings("LOS019", mlp_setup(None, nn.BCEWithLogitsLoss(), RARE.float().unsqueeze(1), outputs=1))
    assert found.evidence["bias"] == pytest.approx([-2.9], abs=0.2)


def test_mean_of_a_regression() -> None:
    targets = 10 + torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
    (found,) = findings("LOS019", mlp_setup(None, nn.MSELoss(), targets, outputs=1))
    assert found.evidence["bias"] == pytest.approx([10], abs=0.3)


@pytest.mark.parametrize(
    ("loss", "targets", "outputs"),
    [
        (nn.CrossEntropyLoss(), torch.arange(200) % 2, 2),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 19.0])), RARE, 2),
        (nn.BCEWithLogitsLoss(), (torch.arange(200) % 2).float().unsqueeze(1), 1),
        (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([19.0])), RARE.float().unsqueeze(1), 1),
        (nn.MSELoss(), torch.randn(200, 1), 1),
        (nn.MSELoss(), 3.0 * torch.ones(200, 1), 1),  # a constant target is another rule's
    ],
)
def test_balanced_targets_are_silent(loss: nn.Module, targets: torch.Tensor, outputs: int) -> None:
    assert not findings("LOS019", mlp_setup(None, loss, targets, outputs=outputs))


def test_a_bias_that_knows_is_silent() -> None:
    case = mlp_setup(None, F.cross_entropy, RARE, outputs=2)
    with torch.no_grad():
        case["model"].fc2.bias.copy_(torch.tensor([0.95, 0.05]).log())
    assert not findings("LOS019", case)


LABELS = torch.arange(40) % 5


@pytest.mark.parametrize(
    ("loss", "labels", "words"),
    [
        (nn.CrossEntropyLoss(), torch.full((40,), -100), "ignore_index"),
        (nn.CrossEntropyLoss(ignore_index=0), torch.zeros(40, dtype=torch.long), "ignore_index"),
        (nn.CrossEntropyLoss(reduction="sum"), torch.full((40,), -100), "ignore_index"),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1, 0, 1, 1])), torch.full((40,), 2), "class weights"),
        (
            nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1, 0, 1, 1]), reduction="sum"),
            torch.full((40,), 2),
            "class weights",
        ),
    ],
)
def test_nothing_counts(loss: nn.Module, labels: torch.Tensor, words: str) -> None:
    (found,) = findings("LOS025", mlp_setup(None, loss, labels))
    assert words in found.message


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (nn.CrossEntropyLoss(), LABELS),
        (nn.CrossEntropyLoss(), torch.where(LABELS < 4, -100, LABELS)),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1, 0, 1, 1])), LABELS),
        (nn.CrossEntropyLoss(), F.one_hot(LABELS, 5).float()),
    ],
)
def test_something_counts(loss: nn.Module, labels: torch.Tensor) -> None:
    assert not findings("LOS025", mlp_setup(None, loss, labels))


@pytest.mark.parametrize("code", ["LOS010", "LOS019", "LOS025"])
def test_made_up_labels_are_not_judged(code: str) -> None:
    torch.manual_seed(0)
    assert skipped(code, {"model": Mlp(), "inputs": torch.randn(20, 12), "loss": nn.CrossEntropyLoss()})
