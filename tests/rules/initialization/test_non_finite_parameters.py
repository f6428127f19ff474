"""INI005 non-finite-parameters: naN or Inf in a parameter or a buffer of the model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import NO_INPUTS, Net, checked, features, findings, labels, places
from tests.rules.initialization.parameters import mlp

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ["0.weight", "5.bias", "1.running_var"])
def test_non_finite(name, value) -> None:
    model = mlp()
    dict(model.named_parameters() if "running" not in name else model.named_buffers())[name].data[0] = value
    report = checked("INI005", model, features(), labels())
    assert places(report.findings) == [("error", name.partition(".")[0])]


def test_infinite_mask_is_silent() -> None:
    model = Net(lambda m, x: m.fc(x), fc=nn.Linear(20, 5))
    model.register_buffer("mask", torch.full((4, 4), -INF).triu(1))
    assert findings("INI005", model, features()) == []
    model.mask[0, 0] = NAN
    assert places(findings("INI005", model, features())) == [("error", "")]


def test_non_finite_needs_no_inputs_and_no_fresh_weights() -> None:
    model = mlp()
    model[3].weight.data.fill_(NAN)
    assert places(checked("INI005", model, NO_INPUTS).findings) == [("error", "3")]
