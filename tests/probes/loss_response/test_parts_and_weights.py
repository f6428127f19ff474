"""Outputs of which a part is the answer, weights of classes inside a loss, and losses that are blind to the sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnlint.probes.loss_response.stats import LossResponse
from tests.probes.sessions import session

SAMPLES = 40
NUMBERS = torch.randn(SAMPLES, 2, generator=torch.Generator().manual_seed(0))
RARE = (torch.arange(SAMPLES) % 5 == 0).float()[:, None]
CLASSES = torch.where(torch.arange(SAMPLES) % 5 == 0, 1, 0)


def response(loss: Callable[..., Any], targets: Tensor, outputs: int) -> LossResponse:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, outputs))
    given = torch.randn(SAMPLES, 12, generator=torch.Generator().manual_seed(1))
    made = session(model, given, targets=targets, loss=loss)
    found: LossResponse = made.evidence("LossResponse")
    made.close()
    return found


def mean_first(out: Tensor, y: Tensor) -> Tensor:
    mean, log_variance = out.chunk(2, -1)
    return (log_variance + (y - mean) ** 2 / log_variance.exp()).mean()


def scale_first(out: Tensor, y: Tensor) -> Tensor:
    return -torch.distributions.Laplace(out[:, 2:], out[:, :2].exp()).log_prob(y).sum(-1).mean()


def signal_to_noise(out: Tensor, y: Tensor) -> Tensor:
    share = (out * y).sum(-1, keepdim=True) * y / y.pow(2).sum(-1, keepdim=True)
    return -10 * torch.log10(share.pow(2).sum(-1) / ((out - share).pow(2).sum(-1) + 1e-8)).mean()


@pytest.mark.parametrize("loss", [mean_first, scale_first])
def test_the_part_of_an_output_that_is_the_answer(loss: Callable[..., Tensor]) -> None:
    assert response(loss, NUMBERS, 4).prefers_right is True
    assert response(lambda out, y: -loss(out, y), NUMBERS, 4).prefers_right is False


def test_no_part_of_a_survival_time_is_the_answer() -> None:
    def weibull(out: Tensor, times: Tensor) -> Tensor:
        scale, shape = F.softplus(out[:, :2]) + 0.1, F.softplus(out[:, 2:]) + 0.1
        return ((times / scale) ** shape - shape.log() + shape * scale.log() - (shape - 1) * times.log()).mean()

    assert response(weibull, NUMBERS.exp(), 4).prefers_right is None


def test_a_loss_that_is_blind_to_the_sign_still_prefers_the_answer() -> None:
    assert response(signal_to_noise, NUMBERS, 2).prefers_right is True
    assert response(lambda out, y: -signal_to_noise(out, y), NUMBERS, 2).prefers_right is False


def _ratio(found: LossResponse) -> float:
    """Weight of the rare class over that of the common one."""
    weights = {weight.label: weight.weight for weight in found.weights}
    return weights[1.0] / weights[0.0]


def test_weights_of_classes_inside_a_loss() -> None:
    weight = torch.tensor([1.0, 4.0])
    assert _ratio(response(lambda out, y: F.cross_entropy(out, y, weight=weight), CLASSES, 2)) == pytest.approx(4.0, rel=1e-3)

    def binary(out: Tensor, y: Tensor) -> Tensor:
        return -(0.2 * y * F.logsigmoid(out) + 0.8 * (1 - y) * F.logsigmoid(-out)).mean()

    assert _ratio(response(binary, RARE, 1)) == pytest.approx(0.25, rel=1e-3)
    assert [weight.count for weight in response(binary, RARE, 1).weights] == [32, 8]


def test_weights_of_samples_are_no_weights_of_classes() -> None:
    own = torch.rand(SAMPLES, generator=torch.Generator().manual_seed(2)) + 0.1
    found = response(lambda out, y: (F.cross_entropy(out, y, reduction="none") * own).mean(), CLASSES, 2)
    assert found.weights == ()


def test_of_two_outputs_of_one_shape_the_mean_is_the_answer() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.log_variance = nn.Linear(12, 2), nn.Linear(12, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.mean(x), self.log_variance(x)

    def likelihood(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return -(out[1] + (y - out[0]) ** 2 / out[1].exp()).mean()

    torch.manual_seed(0)
    made = session(Heads(), torch.randn(SAMPLES, 12), targets=NUMBERS, loss=likelihood)
    assert made.evidence("LossResponse").prefers_right is False
    made.close()


def test_probabilities_given_to_a_loss_of_logits_say_nothing_of_its_weights() -> None:
    targets = torch.cat([RARE, 1 - RARE, RARE], 1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 3), nn.Softmax(-1))
    made = session(model, torch.randn(SAMPLES, 12), targets=targets, loss=nn.MultiLabelSoftMarginLoss())
    assert made.evidence("LossResponse").weights == ()
    made.close()
