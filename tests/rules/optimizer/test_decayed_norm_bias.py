"""OPT006 decayed-norm-bias: weight decay applies to norm weights and biases too."""

from __future__ import annotations

import torch

from tests.rules.optimizer.settings import check, levels, net


def test_decayed_norms_and_biases() -> None:
    model = net()
    (finding,) = check("OPT006", model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4))
    assert finding.level.value == "info"
    assert set(finding.evidence["parameters"]) == {"0.bias", "1.weight", "1.bias", "3.bias"}


def test_decay_of_matrices_only_is_silent() -> None:
    model = net()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    assert levels("OPT006", model, torch.optim.AdamW(groups)) == []
    assert levels("OPT006", model, torch.optim.AdamW(model.parameters())) == []
    assert levels("OPT006", model, torch.optim.SGD(model.parameters())) == []
