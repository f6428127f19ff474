"""NRM007, NRM008, NRM009: momentum and the number of values of a norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import NO_INPUTS, Net, checked, features, findings, images, places


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


POINTS = torch.randn(16, 8, 1, 1, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.GroupNorm(20, 20), features()),
        (nn.GroupNorm(8, 8), POINTS),
        (nn.LayerNorm(1), features().unsqueeze(-1)),
        (nn.RMSNorm(1), features().unsqueeze(-1)),
        (Net(lambda m, x: F.normalize(x, dim=1)), features(width=1)),
        (Net(lambda m, x: F.group_norm(x, 20)), features()),
        (Net(lambda m, x: torch.instance_norm(x, None, None, None, None, True, 0.1, 1e-5, False)), POINTS),
    ],
    ids=["group norm", "on one position", "layer norm", "rms norm", "normalize", "function", "instance norm"],
)
def test_one_value(model, inputs) -> None:
    reported = findings("NRM008", nn.Sequential(model), inputs)
    assert [item.level.value for item in reported] == ["error"]


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.GroupNorm(10, 20), features()),
        (nn.GroupNorm(8, 8), images(channels=8)),
        (nn.LayerNorm(20), features()),
        (nn.BatchNorm2d(8), POINTS),
        (nn.BatchNorm1d(20).eval(), features(samples=1)),
        (nn.InstanceNorm2d(3), images()),
        (Net(lambda m, x: F.normalize(x, dim=1)), features()),
    ],
    ids=["two a group", "positions", "layer norm", "batch of one position", "eval mode", "instance norm", "normalize"],
)
def test_several_values_are_silent(model, inputs) -> None:
    assert findings("NRM008", nn.Sequential(model), inputs) == []


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


def test_momentum_needs_no_inputs() -> None:
    report = checked("NRM007", nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16, momentum=0.99)), NO_INPUTS)
    assert places(report.findings) == [("warning", "1")]
