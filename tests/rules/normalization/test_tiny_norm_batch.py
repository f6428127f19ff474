"""NRM009 tiny-norm-batch: batch norm whose mean and variance come from fewer than eight values of a channel."""

from __future__ import annotations

import pytest
from torch import nn

from nnlint.testing import features, findings, images, places
from tests.rules.normalization.batch_norm_settings import POINTS


@pytest.mark.parametrize(
    ("model", "inputs", "expected"),
    [
        (nn.BatchNorm1d(20), features(samples=4), [("warning", "0")]),
        (nn.BatchNorm1d(20), features(samples=8), []),
        (nn.BatchNorm2d(3), images(samples=2), []),
        (nn.BatchNorm2d(8), POINTS[:4], [("warning", "0")]),
        (nn.BatchNorm1d(20).eval(), features(samples=4), []),
        (nn.LayerNorm(20), features(samples=4), []),
    ],
)
def test_tiny_batch(model, inputs, expected) -> None:
    assert places(findings("NRM009", nn.Sequential(model), inputs)) == expected


def test_made_up_inputs_are_no_evidence() -> None:
    import nnlint

    model = nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.Linear(16, 2))
    report = nnlint.check(model, select=["NRM009"], batch_size=4).results[0]
    assert report.findings == []
    assert [item.code for item in report.skipped] == ["NRM009"]
