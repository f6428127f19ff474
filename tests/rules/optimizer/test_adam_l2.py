"""OPT007 adam-l2: adam, NAdam or RAdam with a weight decay that is added to the gradient."""

from __future__ import annotations

import pytest
import torch

from tests.rules.optimizer.settings import levels, net


@pytest.mark.parametrize(
    ("make", "fires"),
    [
        (lambda p: torch.optim.Adam(p, weight_decay=1e-4), True),
        (lambda p: torch.optim.NAdam(p, weight_decay=1e-4), True),
        (lambda p: torch.optim.NAdam(p, weight_decay=1e-4, decoupled_weight_decay=True), False),
        (torch.optim.Adam, False),
        (lambda p: torch.optim.AdamW(p, weight_decay=0.1), False),
        (lambda p: torch.optim.SGD(p, weight_decay=1e-4), False),
    ],
    ids=["Adam", "NAdam", "NAdam decoupled", "no decay", "AdamW", "SGD"],
)
def test_adam_with_l2(make, fires) -> None:
    model = net()
    assert levels("OPT007", model, make(model.parameters())) == (["info"] if fires else [])
