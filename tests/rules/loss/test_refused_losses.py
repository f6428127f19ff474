"""What the loss rules get to see when the loss raises, is no tensor, or runs on fake tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.finding import Skip
from nnlint.probes.session import Plan, Session
from nnlint.probes.training_pass.losses import LossCalls
from nnlint.setup import SetupOptions, coerce
from nnlint.testing import Mlp, mlp_setup

TOO_LARGE = torch.arange(40) % 6


def losses_of(case: dict[str, Any], *, static: bool = False) -> LossCalls:
    found: LossCalls = Session(coerce(case, SetupOptions()), Plan(static=static)).evidence("LossCalls")
    return found


def test_a_loss_that_raises_is_recorded_with_what_it_was_given() -> None:
    losses = losses_of(mlp_setup(None, nn.CrossEntropyLoss(), TOO_LARGE))
    (call,) = losses
    assert losses.raised
    assert losses.value is None
    assert call.value is None
    assert call.prediction is not None
    assert call.prediction.module_path == "fc2"
    assert call.target_value is not None
    assert call.target_value.tolist() == TOO_LARGE.tolist()
    with pytest.raises(Skip, match="RUN003"):
        losses.require_result()


def test_the_graph_of_the_model_is_kept_when_the_loss_raises() -> None:
    session = Session(coerce(mlp_setup(None, nn.CrossEntropyLoss(), TOO_LARGE), SetupOptions()), Plan())
    graph = session.evidence("Graph")
    assert graph.method == "recorded"
    assert graph.loss is None
    assert {"fc1", "fc2"} <= graph.called_modules


def test_a_loss_that_the_users_code_survives_is_not_taken_for_the_loss() -> None:
    def loss(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        try:
            return F.nll_loss(output, labels + 100)
        except IndexError:
            return F.cross_entropy(output, labels)

    losses = losses_of(mlp_setup(None, loss))
    assert [call.kind for call in losses] == ["cross_entropy"]
    assert not losses.raised


def test_a_loss_inside_forward_that_raises_is_found() -> None:
    class OwnLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Mlp()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    torch.manual_seed(0)
    case = {"model": OwnLoss(), "inputs": {"x": torch.randn(40, 12), "labels": TOO_LARGE}}
    report = nnlint.check(case, select=["LOS009"]).results[0]
    assert report.status == "failed"
    assert [found.module for found in report.findings if found.code == "LOS009"] == ["net.fc2"]


def test_a_number_is_no_tensor() -> None:
    losses = losses_of(mlp_setup(None, lambda o, t: F.cross_entropy(o, t).item()))
    assert not losses.is_tensor
    assert "float" in losses.type_name


def test_a_static_check_knows_the_calls_but_no_values() -> None:
    losses = losses_of(mlp_setup(None, nn.CrossEntropyLoss()), static=True)
    (call,) = losses
    assert call.kind == "cross_entropy"
    assert call.prediction_value is None
    assert not losses.measured
    with pytest.raises(Skip, match="static"):
        losses.require_values()


def test_relu6_is_one_operation_in_every_form() -> None:
    for form in (nn.ReLU6(), F.relu6, lambda z: F.hardtanh(z, 0.0, 6.0)):
        losses = losses_of(mlp_setup(form, nn.CrossEntropyLoss()))
        assert [op.name for op in losses.graph.calls("relu6", "hardtanh")] == ["relu6"]
