"""NRM007 inverted-momentum: A batch-norm momentum of 0.9 or more, of 0, or given where the epsilon is taken."""

from __future__ import annotations

import pytest
from torch import nn

from nnlint.testing import NO_INPUTS, checked, features, findings, images, places


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (nn.BatchNorm1d(16, momentum=0.99), [("warning", "1")]),
        (nn.BatchNorm1d(16, momentum=0.9), [("warning", "1")]),
        (nn.BatchNorm1d(16, momentum=1.0), [("warning", "1")]),
        (nn.BatchNorm1d(16, momentum=0.0), [("warning", "1")]),
        (nn.BatchNorm1d(16), []),
        (nn.BatchNorm1d(16, momentum=0.01), []),
        (nn.BatchNorm1d(16, momentum=0.6), []),
        (nn.BatchNorm1d(16, momentum=None), []),
        (nn.BatchNorm1d(16, momentum=0.99, track_running_stats=False), []),
        (nn.BatchNorm1d(16, momentum=0.0).eval(), []),
        (nn.LayerNorm(16), []),
    ],
)
def test_momentum(norm, expected) -> None:
    assert places(findings("NRM007", nn.Sequential(nn.Linear(20, 16), norm), features())) == expected


def test_subclass_of_batch_norm_is_one() -> None:
    class Own(nn.BatchNorm2d):
        pass

    reported = findings(
        "NRM007", nn.Sequential(nn.Conv2d(3, 4, 3), Own(4, momentum=0.997), nn.BatchNorm2d(4, momentum=0.997)), images()
    )
    assert places(reported) == [("warning", "1")]
    assert reported[0].modules == ["2"]
    assert "0.003" in reported[0].fix


def test_momentum_needs_no_inputs() -> None:
    report = checked("NRM007", nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16, momentum=0.99)), NO_INPUTS)
    assert places(report.findings) == [("warning", "1")]
