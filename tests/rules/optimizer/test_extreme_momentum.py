"""OPT010 extreme-momentum: momentum or Adam's betas outside the range that trains."""

from __future__ import annotations

import pytest
import torch

from tests.rules.optimizer.settings import levels, net


@pytest.mark.parametrize(
    ("make", "fires"),
    [
        (torch.optim.Adam, False),
        (lambda p: torch.optim.Adam(p, betas=(0.5, 0.999)), False),
        (lambda p: torch.optim.Adam(p, betas=(0.0, 0.9)), False),
        (lambda p: torch.optim.AdamW(p, betas=(0.9, 0.95)), False),
        (lambda p: torch.optim.Adam(p, betas=(0.999, 0.9)), True),
        (lambda p: torch.optim.Adam(p, betas=(0.995, 0.999)), True),
        (lambda p: torch.optim.Adam(p, betas=(0.1, 0.2)), True),
        (lambda p: torch.optim.SGD(p, momentum=0.9), False),
        (lambda p: torch.optim.SGD(p, momentum=0.99), False),
        (torch.optim.SGD, False),
        (lambda p: torch.optim.SGD(p, momentum=0.999), True),
        (lambda p: torch.optim.SGD(p, momentum=9.0), True),
    ],
)
def test_momentum(make, fires) -> None:
    model = net()
    assert levels("OPT010", model, make(model.parameters())) == (["warning"] if fires else [])


def test_the_same_fault_in_every_group_is_one_finding() -> None:
    model = net()
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters()}]
    assert levels("OPT010", model, torch.optim.SGD(groups, lr=0.1, momentum=0.999)) == ["warning"]
