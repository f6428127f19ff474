"""A model that is wrapped for speed is checked as the model inside; lazy modules get the sizes that their inputs give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nnlint import check
from nnlint.setup.target.accepted_forms import to_setup


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.Softmax(dim=1))


def setup(model: nn.Module, **more: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    inputs, targets = torch.randn(16, 6, generator=generator), torch.arange(16) % 4
    return {"model": model, "inputs": inputs, "targets": targets, "loss": nn.CrossEntropyLoss(), **more}


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel])
def test_the_findings_are_those_of_the_model_inside(wrap: Any) -> None:
    plain, wrapped = check(setup(net())), check(setup(wrap(net())))
    assert [(f.code, f.module, f.message) for f in wrapped.findings] == [
        (f.code, f.module, f.message) for f in plain.findings
    ]
    assert any("is checked" in text for text in wrapped.results[0].assumptions)


def test_a_compiled_model_is_kept_where_it_is_asked_for() -> None:
    model = torch.compile(net(), backend="eager")
    assert to_setup(setup(model, declared={"compiled"})).model is model


def test_lazy_modules_take_their_sizes_in_a_copy() -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 4), nn.Softmax(dim=1))
    report = check(setup(model))
    assert [finding.code for finding in report.findings if finding.level.value == "error"] == ["LOS001"]
    assert not any("uninitialized" in skipped.reason for skipped in report.skipped)
    assert isinstance(model[0].weight, nn.parameter.UninitializedParameter)
