"""OPT011 frozen-in-optimizer: parameters that require no gradient are in a parameter group."""

from __future__ import annotations

import torch

from tests.rules.optimizer.settings import check, levels, net


def test_frozen_in_optimizer() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters())
    assert levels("OPT011", model, optimizer) == []
    model[0].requires_grad_(False)
    (finding,) = check("OPT011", model, optimizer)
    assert (finding.level.value, finding.evidence["parameters"]) == ("info", ["0.weight", "0.bias"])
