"""NRM001: dropout above a batch norm counts where the variance shift is measured, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import NO_INPUTS, Net, checked, features, findings, images, places


def net(between: nn.Module, norm: nn.Module | None = None, before: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU())
    last = nn.Sequential(nn.Conv2d(16, 16, 3), before or nn.Identity(), norm or nn.BatchNorm2d(16), nn.ReLU())
    return nn.Sequential(first, between, last, nn.Flatten(), nn.Linear(16 * 64, 5))


class AlwaysOn(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.5)


class Method(nn.Module):
    def forward(self, x):
        return torch.dropout(x, 0.5, self.training)


@pytest.mark.parametrize(
    "dropout", [nn.Dropout(0.5), AlwaysOn(), Method(), nn.Dropout2d(0.5)], ids=lambda d: type(d).__name__
)
def test_every_form_of_dropout_is_seen(dropout) -> None:
    reported = findings("NRM001", net(dropout), images())
    assert places(reported) == [("info", "2.2")]  # a convolution stands between
    assert reported[0].evidence["variance_ratio"] > 1.5


@pytest.mark.parametrize("dropout", [nn.Dropout(0.5), AlwaysOn(), Method()], ids=lambda d: type(d).__name__)
def test_dropped_values_that_go_into_the_norm_are_a_warning(dropout) -> None:
    reported = findings("NRM001", net(nn.Identity(), before=nn.Sequential(nn.ReLU(), dropout)), images())
    assert places(reported) == [("warning", "2.2")]


@pytest.mark.parametrize(
    "model",
    [
        net(nn.Identity()),
        net(nn.Dropout(0.0)),
        net(nn.Dropout(0.1)),
        net(nn.Dropout(0.5).eval()),
        net(nn.Dropout(0.5), norm=nn.GroupNorm(4, 16)),
        net(nn.Dropout(0.5), norm=nn.BatchNorm2d(16, track_running_stats=False)),
        net(nn.Dropout(0.5), norm=nn.BatchNorm2d(16).eval()),
        net(nn.Dropout(0.5), before=nn.GroupNorm(4, 16)),
        nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(800, 5)
        ),
    ],
    ids=[
        "none",
        "p = 0",
        "p = 0.1",
        "dropout in eval",
        "group norm",
        "no running statistics",
        "norm in eval",
        "another norm between",
        "behind the last norm",
    ],
)
def test_harmless_dropout_is_silent(model) -> None:
    assert findings("NRM001", model, images()) == []


def test_alpha_dropout_keeps_the_variance_of_selu() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.SELU(), nn.AlphaDropout(0.3), nn.Linear(64, 64), nn.BatchNorm1d(64))
    nn.init.kaiming_normal_(model[0].weight, nonlinearity="linear")
    assert findings("NRM001", model, features()) == []
    model[2] = nn.Dropout(0.3)
    assert places(findings("NRM001", model, features())) == []  # 1/q = 1.43 for centered values
    model[2] = nn.Dropout(0.5)
    assert places(findings("NRM001", model, features())) == [("info", "4")]


def test_weak_dropout_is_measured_and_silent() -> None:
    # 1/q = 1.25 for centered values: below the limit although p is above the ignored one.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.Dropout(0.2), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Linear(64, 5))
    assert findings("NRM001", model, features()) == []


def test_dropout_straight_into_the_norm_and_through_a_concatenation() -> None:
    torch.manual_seed(0)
    model = Net(
        lambda m, x: m.head(m.norm(torch.cat([m.a(x), m.drop(F.relu(m.b(x)))], dim=1))),
        a=nn.Linear(20, 16),
        b=nn.Linear(20, 16),
        drop=nn.Dropout(0.5),
        norm=nn.BatchNorm1d(32),
        head=nn.Linear(32, 5),
    )
    reported = findings("NRM001", model, features())
    assert places(reported) == [("warning", "norm")]
    # A ReLU output has mean^2/var near 0.47: 2 + 0.47 for p = 0.5.
    assert reported[0].evidence["variance_ratio"] == pytest.approx(2.47, rel=0.15)


def test_one_finding_names_all_norms() -> None:
    torch.manual_seed(0)
    block = lambda: nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5))  # noqa: E731
    model = nn.Sequential(
        nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), block(), block(), nn.Linear(32, 5)
    )
    reported = findings("NRM001", model, features())
    assert len(reported) == 1
    assert {"4.1", "5.1", "3", "4.3"} == {reported[0].module, *reported[0].modules}


def test_skipped_without_inputs() -> None:
    report = checked("NRM001", net(nn.Dropout(0.5)), NO_INPUTS)
    assert [item.code for item in report.skipped] == ["NRM001"] or report.assumptions
