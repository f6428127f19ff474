"""ARC020 no-trainable-parameters: no parameter is trainable, or only those of normalization layers are."""

from __future__ import annotations

import pytest
from torch import nn

from nnlint.testing import findings
from tests.libraries import library


def net_with(train):
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 8))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in train)
    return model


@pytest.mark.parametrize("train", [(), ("1.weight", "1.bias")], ids=["nothing", "norms only"])
def test_nothing_to_train(train):
    (finding,) = findings("ARC020", net_with(train))
    assert finding.level.value == "error"


@pytest.mark.parametrize("train", [("3.weight", "3.bias"), ("0.bias", "3.bias", "1.weight"), ("0.weight",)])
def test_something_to_train(train):
    assert not findings("ARC020", net_with(train))


def test_an_adapter_loaded_for_inference_is_told_how_to_load_it():
    peft = library("peft")
    config = peft.LoraConfig(target_modules=["0"], inference_mode=True)
    model = peft.PeftModel(net_with(()), config)
    model.requires_grad_(False)
    (finding,) = findings("ARC020", model)
    assert "is_trainable=True" in finding.fix


def test_a_model_without_parameters():
    (finding,) = findings("ARC020", nn.ReLU())
    assert "lists no parameter" in finding.message
