"""NRM010 norm-left-in-eval: batch norm or dropout in evaluation mode while its layers train, or moving statistics of frozen layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import features, findings, places
from tests.rules.normalization.modes import net


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
        (frozen(net(), norms_eval=True), [("info", "0.1")]),
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


class Overridden(nn.Module):
    """Keeps its body in eval mode, one way or another."""

    def __init__(self, *, by, trainable=True):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.by = net()[0], nn.Linear(32, 5), by
        self.body.requires_grad_(trainable)

    def train(self, mode=True):
        super().train(mode)
        if self.by == "train":
            self.body.eval()
        return self

    def forward(self, x):
        if self.by == "forward":
            self.body.eval()
        return self.head(self.body(x))


@pytest.mark.parametrize("by", ["train", "forward"])
def test_a_part_that_training_keeps_in_eval_mode(by) -> None:
    (finding,) = findings("NRM010", Overridden(by=by), features())
    assert (finding.level.value, finding.module) == ("warning", "body")
    assert "stays in eval mode in training" in finding.message


def test_a_child_with_a_train_of_its_own() -> None:
    class Kept(nn.Sequential):
        def train(self, mode=True):
            return super().train(False)

    torch.manual_seed(0)
    model = nn.Sequential(Kept(*net()[0]), nn.Linear(32, 5))
    assert places(findings("NRM010", model, features())) == [("warning", "0")]


@pytest.mark.parametrize("by", ["train", "forward"])
def test_a_frozen_part_that_training_keeps_in_eval_mode(by) -> None:
    """Handed over before the first `train()`: all flags still say training."""
    assert findings("NRM010", Overridden(by=by, trainable=False), features()) == []


def test_flags_are_as_before_afterwards() -> None:
    model = Overridden(by="train")
    findings("NRM010", model, features())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("pattern", ["0", "0*", "0.1"])
def test_declared_frozen_parts_are_silent(pattern) -> None:
    assert findings("NRM010", frozen(net(), norms_eval=False), features(), frozen=(pattern,)) == []


class Momentum(nn.Module):
    """A trained part and its frozen copy, which runs in training mode as in BYOL and MoCo."""

    def __init__(self, copied: nn.Module) -> None:
        super().__init__()
        self.query, self.key = net(), copied.requires_grad_(False)

    def forward(self, x):
        with torch.no_grad():
            kept = self.key(x)
        return self.query(x) - kept


def test_a_momentum_copy_moves_by_design_and_a_frozen_backbone_does_not() -> None:
    assert findings("NRM010", Momentum(net()), features()) == []
    other = nn.Sequential(nn.Linear(20, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))
    assert places(findings("NRM010", Momentum(other), features())) == [("warning", "key.1")]
