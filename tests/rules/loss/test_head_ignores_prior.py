"""LOS019 head-ignores-prior: final bias that does not encode the class frequencies or the mean of the targets."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings, mlp_setup

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
