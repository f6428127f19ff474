"""RUN002 forward-failed: the model's forward raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

import nnlint
from tests.rules.run.failures import Net, codes, setup

if TYPE_CHECKING:
    pass


FORWARD = setup(Net(lambda h: h.reshape(-1, 5)))


LOSS = setup(Net(), targets=torch.full((8,), 9))


def overwritten(h):
    y = torch.exp(h)
    z = y * 2
    y.add_(1)
    return z + y


BACKWARD = setup(Net(overwritten))


@pytest.mark.parametrize(
    ("broken", "code"),
    [(FORWARD, "RUN002"), (LOSS, "RUN003"), (BACKWARD, "RUN004")],
    ids=["forward", "loss", "backward"],
)
def test_static_findings_are_still_reported(broken, code) -> None:
    report = nnlint.check(broken)
    assert report.results[0].status == "failed"
    assert {code, "OPT001"} <= codes(report)
    failure = next(item for item in report.results[0].findings if item.code == code)
    assert failure.level.value == "error"
    assert failure.trace is not None
    assert failure.fix


def test_forward_failure_names_layer_and_shapes() -> None:
    model = Net()
    report = nnlint.check(setup(model, inputs=torch.randn(8, 9)))
    (failure,) = [item for item in report.results[0].findings if item.code == "RUN002"]
    assert failure.module == "fc1"
    assert "8 x 9" in failure.message or "(8, 9)" in failure.message
    assert "in_features=9" in failure.fix
