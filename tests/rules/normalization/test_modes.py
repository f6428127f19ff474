"""NRM010, NRM011: modes and running statistics that do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import features, findings, labels, places


def net() -> nn.Module:
    torch.manual_seed(0)
    part = nn.Sequential(nn.Linear(20, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2))
    return nn.Sequential(part, nn.Linear(32, 5))


def frozen(model: nn.Module, *, norms_eval: bool) -> nn.Module:
    model[0].requires_grad_(False)
    if norms_eval:
        model[0].eval()
    return model


def eval_part(model: nn.Module) -> nn.Module:
    model[0].eval()
    return model


def eval_norms(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    return model


def eval_dropout(model: nn.Module) -> nn.Module:
    model[0][3].eval()
    return model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (net(), []),
        (eval_part(net()), [("warning", "0")]),
        (net().eval(), [("info", "")]),
        (eval_norms(net()), [("info", "0.1")]),
        (eval_dropout(net()), []),
        (frozen(net(), norms_eval=True), []),
        (frozen(net(), norms_eval=False), [("warning", "0.1")]),
        (net().requires_grad_(False), []),
        (nn.Sequential(nn.Linear(20, 5)).eval(), []),
    ],
    ids=[
        "train",
        "part in eval",
        "whole model in eval",
        "batch norms in eval",
        "dropout in eval",
        "frozen in eval",
        "frozen but moving",
        "all frozen",
        "nothing depends on the mode",
    ],
)
def test_modes(model, expected) -> None:
    assert places(findings("NRM010", model, features())) == expected


@pytest.mark.parametrize("pattern", ["0", "0*", "0.1"])
def test_declared_frozen_parts_are_silent(pattern) -> None:
    assert findings("NRM010", frozen(net(), norms_eval=False), features(), frozen=(pattern,)) == []


def trained() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model, inputs, targets = net(), 2.0 * features() + 1.0, labels()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model, inputs


def test_stale_statistics_of_a_trained_model() -> None:
    model, inputs = trained()
    assert findings("NRM011", model, inputs) == []
    assert places(findings("NRM011", model, inputs * 10.0)) == [("warning", "0.1")]  # data preprocessed otherwise
    model[0][1].reset_running_stats()
    assert places(findings("NRM011", model, inputs)) == [("warning", "0.1")]


def test_initial_statistics_of_a_fresh_model_are_silent() -> None:
    assert findings("NRM011", net(), features() * 100.0) == []
