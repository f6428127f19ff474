"""DAT012 constant-target: every target in the data is the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.data.dataset import BALANCED, INPUTS, check, loader, net, report


@pytest.mark.parametrize(
    ("targets", "fires"),
    [
        (torch.full((512,), 2), True),
        (BALANCED, False),
        (torch.where(torch.arange(512) == 511, 1, 0), False),
    ],
    ids=["constant", "varied", "one differs"],
)
def test_constant_target(targets, fires) -> None:
    assert check("DAT012", data=loader(targets)) == (["error"] if fires else [])
    assert check("DAT012", inputs=INPUTS, targets=targets) == (["error"] if fires else [])


class OwnLoss(nn.Module):
    """Takes the labels among its inputs, like the models of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(3)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize(
    ("labels", "levels"), [(torch.ones(512, dtype=torch.long), ["error"]), (torch.arange(512) % 3, [])]
)
def test_constant_labels_among_the_inputs(labels, levels) -> None:
    fields = {"model": OwnLoss(), "loss": lambda output, _: output["loss"], "inputs": {"x": INPUTS, "labels": labels}}
    assert check("DAT012", **fields) == levels


def test_constant_regression_target() -> None:
    assert check("DAT012", model=net(1), loss=nn.MSELoss(), inputs=INPUTS, targets=torch.zeros(512, 1)) == ["error"]


@pytest.mark.parametrize(("samples", "level"), [(64, "warning"), (256, "error")])
def test_class_that_may_be_rare_is_no_error(samples, level) -> None:
    targets = torch.zeros(samples, dtype=torch.long)
    assert check("DAT012", inputs=INPUTS[:samples], targets=targets) == [level]
    assert check("DAT012", data=loader(targets)) == [level]


def test_constant_quantity_is_an_error_in_any_batch() -> None:
    assert check("DAT012", model=net(1), loss=nn.MSELoss(), inputs=INPUTS[:64], targets=torch.full((64, 1), 0.3)) == [
        "error"
    ]


def test_constant_target_of_few_samples_is_a_skip() -> None:
    assert "samples, got 4" in report("DAT012", inputs=INPUTS[:4], targets=torch.zeros(4, dtype=torch.long)).skipped[0].reason


def test_made_up_targets_are_a_skip() -> None:
    made = report("DAT012", inputs=INPUTS)
    assert [item.code for item in made.skipped] == ["DAT012"]
