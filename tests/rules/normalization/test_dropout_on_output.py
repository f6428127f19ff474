"""NRM006 dropout-on-output: dropout as the last operation before the loss."""

from __future__ import annotations

import pytest
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, checked, features, findings, labels, places
from tests.rules.normalization.output import head


@pytest.mark.parametrize(
    ("model", "loss", "at"),
    [
        (head(nn.Dropout(0.2)), nn.CrossEntropyLoss(), "3"),
        (head(nn.Dropout(0.2), nn.LogSoftmax(dim=1)), nn.NLLLoss(), "3"),
        (head(nn.Dropout(0.2), nn.Unflatten(1, (5, 1)), nn.Flatten()), nn.CrossEntropyLoss(), "3"),
        (Net(lambda m, x: F.dropout(m.fc(x), training=m.training), fc=nn.Linear(20, 5)), F.cross_entropy, ""),
    ],
    ids=["module", "before log-softmax", "before a view", "function"],
)
def test_dropout_on_output(model, loss, at) -> None:
    assert places(findings("NRM006", model, features(), labels(), loss=loss)) == [("warning", at)]


@pytest.mark.parametrize("code", ["NRM006", "NRM013"])
@pytest.mark.parametrize(
    "model",
    [
        head(),
        nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 5)),
        head(nn.Dropout(0.0)),
        head(nn.Dropout(0.2).eval()),
        head(nn.LayerNorm(5)),
    ],
    ids=["plain", "before the last layer", "p = 0", "in eval", "layer norm"],
)
def test_heads_without_are_silent(code, model) -> None:
    assert findings(code, model, features(), labels()) == []


@pytest.mark.parametrize("code", ["NRM006", "NRM013"])
def test_losses_on_embeddings_are_silent(code) -> None:
    model = head(nn.BatchNorm1d(5), nn.Dropout(0.2)) if code == "NRM006" else head(nn.BatchNorm1d(5))
    loss = lambda out, _: nn.TripletMarginLoss()(out[:20], out[20:40], out[40:60])  # noqa: E731
    assert findings(code, model, features(), labels(), loss=loss) == []


@pytest.mark.parametrize("code", ["NRM006", "NRM013"])
def test_losses_between_two_outputs_are_silent(code) -> None:
    last = nn.Dropout(0.2) if code == "NRM006" else nn.BatchNorm1d(5)
    model = Net(lambda m, x: (m.student(x), m.teacher(x)), student=head(last), teacher=nn.Linear(20, 5))
    loss = lambda out, _: F.mse_loss(out[0], out[1].detach())  # noqa: E731
    assert findings(code, model, features(), labels(), loss=loss) == []


@pytest.mark.parametrize("code", ["NRM006", "NRM013"])
def test_skipped_without_a_loss(code) -> None:
    report = checked(code, head(nn.Dropout(0.2)), features())
    assert [item.code for item in report.skipped] == [code]
