"""LOS018: the closed forms, their limits, and what is not judged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Level
from nnlint.testing import Mlp, findings, mlp_setup, skipped

CODE = "LOS018"
LABELS = torch.arange(40) % 5
MULTI_HOT = (torch.rand(40, 5, generator=torch.Generator().manual_seed(0)) > 0.5).float()
Y = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))


def scaled(factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda z: factor * z


CLASS_LOSSES = [
    nn.CrossEntropyLoss(),
    lambda o, t: F.nll_loss(F.log_softmax(o, 1), t),
    nn.CrossEntropyLoss(reduction="sum"),
]
BINARY_LOSSES = [
    nn.BCEWithLogitsLoss(),
    lambda o, t: F.binary_cross_entropy(torch.sigmoid(o), t),
    nn.MultiLabelSoftMarginLoss(),
    lambda o, t: F.soft_margin_loss(o, 2 * t - 1),
]
REGRESSION_LOSSES = [nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(), nn.HuberLoss(), nn.PoissonNLLLoss()]


@pytest.mark.parametrize(
    ("loss", "targets", "factor"),
    [
        *((loss, LABELS, 12.0) for loss in CLASS_LOSSES),
        *((loss, MULTI_HOT, 16.0) for loss in BINARY_LOSSES),
        *((loss, Y, 3000.0) for loss in REGRESSION_LOSSES[:-1]),
        (nn.PoissonNLLLoss(), Y.abs().round(), 30.0),
        (nn.MultiMarginLoss(), LABELS, 1000.0),
    ],
)
def test_too_high(loss: Callable[..., Any], targets: torch.Tensor, factor: float) -> None:
    (found,) = findings(CODE, mlp_setup(scaled(factor), loss, targets))
    assert "should be about" in found.message


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        *((loss, LABELS) for loss in CLASS_LOSSES),
        *((loss, MULTI_HOT) for loss in BINARY_LOSSES),
        *((loss, Y) for loss in REGRESSION_LOSSES),
        (nn.MultiMarginLoss(), LABELS),
        (nn.CrossEntropyLoss(label_smoothing=0.1), LABELS),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0, 1.0, 1.0, 1.0])), LABELS),
        (nn.CrossEntropyLoss(), F.one_hot(LABELS, 5).float()),
        (nn.BCEWithLogitsLoss(pos_weight=torch.full((5,), 20.0)), MULTI_HOT),
        (nn.KLDivLoss(reduction="batchmean"), None),
    ],
)
def test_default_initialization_is_silent(loss: Callable[..., Any], targets: torch.Tensor | None) -> None:
    if targets is None:
        case = mlp_setup(nn.LogSoftmax(dim=1), loss, Y.softmax(1))
    else:
        case = mlp_setup(None, loss, targets)
    assert not findings(CODE, case)


def test_evidence_holds_the_closed_form() -> None:
    (found,) = findings(CODE, mlp_setup(scaled(12.0), nn.CrossEntropyLoss()))
    assert found.evidence["expected"] == pytest.approx(math.log(5))
    assert found.level is Level.WARNING
    (grave,) = findings(CODE, mlp_setup(scaled(60.0), nn.CrossEntropyLoss()))
    assert grave.level is Level.ERROR


def test_excess_does_not_depend_on_made_up_labels() -> None:
    torch.manual_seed(0)
    case = {"model": Mlp(head=scaled(12.0)), "inputs": torch.randn(40, 12), "loss": nn.CrossEntropyLoss()}
    assert findings(CODE, case)
    assert not findings(CODE, case | {"model": Mlp()})


def test_a_bias_that_encodes_the_prior_is_silent() -> None:
    torch.manual_seed(0)
    rare = torch.zeros(200, dtype=torch.long)
    rare[:4] = 1
    model = Mlp(2)
    with torch.no_grad():
        model.fc2.bias.copy_(torch.tensor([0.98, 0.02]).log())
    case = {"model": model, "inputs": torch.randn(200, 12), "targets": rare, "loss": nn.CrossEntropyLoss()}
    assert not findings(CODE, case)


@pytest.mark.parametrize("given", [True, False])
def test_detector_prior_is_silent(given: bool) -> None:
    torch.manual_seed(0)
    model = Mlp()
    nn.init.constant_(model.fc2.bias, -4.6)
    case: dict[str, Any] = {"model": model, "inputs": torch.randn(200, 12), "loss": nn.BCEWithLogitsLoss()}
    if given:
        case["targets"] = (torch.rand(200, 5) < 0.01).float()
    assert not findings(CODE, case)


class Leak(nn.Module):
    """The label is a column of the input, and a skip connection carries it to the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x) + 8 * x[:, :5]


def test_a_leak_is_too_low() -> None:
    torch.manual_seed(0)
    inputs = torch.cat([F.one_hot(LABELS, 5).float(), torch.randn(40, 7)], 1)
    case = {"model": Leak(), "inputs": inputs, "targets": LABELS, "loss": nn.CrossEntropyLoss()}
    (found,) = findings(CODE, case)
    assert "the targets leak into the output" in found.message


def test_a_copied_regression_target_is_too_low() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(40, 12)
    case = {
        "model": Mlp(),
        "inputs": inputs,
        "targets": inputs[:, :5],
        "loss": lambda o, t: F.mse_loss(t + 1e-3 * o, t),
    }
    (found,) = findings(CODE, case)
    assert "the targets leak into the output" in found.message


def test_trained_weights_are_not_judged() -> None:
    case = mlp_setup(scaled(12.0), nn.CrossEntropyLoss())
    with torch.no_grad():
        for layer in (case["model"].fc1, case["model"].fc2):
            # Heavy-tailed, as training leaves them: no initialization of torch looks like this.
            layer.weight.copy_(0.1 * torch.randn_like(layer.weight) ** 3)
    assert "weights" in skipped(CODE, case)


def test_masked_logits_are_left_out() -> None:
    mask = torch.zeros(40, 5)
    mask[:, 3:] = float("-inf")
    assert not findings(CODE, mlp_setup(lambda z: z + mask, nn.CrossEntropyLoss(), torch.arange(40) % 3))


def test_contrastive_logits_may_be_sharp() -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image, self.text = Mlp(16), Mlp(16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            one, other = F.normalize(self.image(x), dim=1), F.normalize(self.text(x), dim=1)
            return one @ other.T / 0.07

    torch.manual_seed(0)
    case = {"model": Pairs(), "inputs": torch.randn(32, 12), "targets": torch.arange(32), "loss": nn.CrossEntropyLoss()}
    assert all(found.level is not Level.ERROR for found in findings(CODE, case))


def test_language_model_head() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(300, 16), nn.Linear(16, 300))
    tokens = torch.randint(0, 300, (4, 12))
    loss = lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten())  # noqa: E731
    assert not findings(CODE, {"model": model, "inputs": tokens, "targets": tokens.roll(-1, 1), "loss": loss})


def test_skipped_when_the_loss_raises() -> None:
    assert "RUN003" in skipped(CODE, mlp_setup(None, nn.CrossEntropyLoss(), LABELS + 1))


def _distances(net: nn.Module, support: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    return -torch.cdist(net(query), net(support).mean(1)).square()


def _differences(net: nn.Module, support: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    return -(net(query)[:, None] - net(support).mean(1)[None]).square().sum(-1)


def _products(net: nn.Module, support: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    return net(query) @ net(support).mean(1).t()


class Few(nn.Module):
    """Classes are prototypes: means of a few samples each."""

    def __init__(self, compare: Any) -> None:
        super().__init__()
        self.net, self.compare = Mlp(), compare

    def forward(self, support: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        return self.compare(self.net, support, query)


@pytest.mark.parametrize("compare", [_distances, _differences, _products])
def test_logits_that_compare_samples_may_be_right_before_training(compare: Any) -> None:
    torch.manual_seed(0)
    centres = 6 * torch.randn(5, 12)
    inputs = (centres[:, None] + 0.1 * torch.randn(5, 4, 12), centres[LABELS] + 0.1 * torch.randn(40, 12))
    found = findings(CODE, {"model": Few(compare), "inputs": inputs, "targets": LABELS, "loss": nn.CrossEntropyLoss()})
    assert not [item for item in found if "knows the targets" in item.message]


def test_one_target_of_many_calls_may_be_zero_by_chance() -> None:
    class Stepwise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [self.head(row) for row in x.unbind(1)]

    def loss(values: list[torch.Tensor], returns: torch.Tensor) -> torch.Tensor:
        return torch.stack([F.smooth_l1_loss(v[:, 0], r) for v, r in zip(values, returns.unbind(1), strict=True)]).sum()

    returns = torch.linspace(-1, 1, 7)[None].clone()
    returns[0, 3] = 1e-6
    given = {"model": Stepwise(), "inputs": torch.randn(1, 7, 4), "loss": loss}
    assert findings(CODE, {**given, "targets": returns}) == []
    assert findings(CODE, {**given, "targets": 1e-6 * returns.sign()}) != []
