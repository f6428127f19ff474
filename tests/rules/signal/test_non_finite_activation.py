"""SIG003: the first NaN or Inf, named; masks are no fault."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint


class Net(nn.Module):
    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(16, 32), nn.Linear(32, 5)
        self.between = between

    def forward(self, x):
        return self.fc2(self.between(self.fc1(x)))


def check(model, inputs=None, **parts):
    torch.manual_seed(1)
    inputs = torch.randn(16, 16) if inputs is None else inputs
    return nnlint.check({"model": model, "inputs": inputs, **parts}, select=["SIG003"]).results[0]


@pytest.mark.parametrize(
    ("between", "op", "value"),
    [
        (torch.sqrt, "sqrt", "NaN"),
        (lambda h: h / torch.zeros_like(h), "div", "Inf"),
        (lambda h: torch.exp(1000 * h), "exp", "Inf"),
        (lambda h: torch.relu(h).log(), "log", "-Inf"),
        (
            lambda h: torch.softmax(h.masked_fill(torch.ones_like(h, dtype=torch.bool), float("-inf")), -1),
            "softmax",
            "NaN",
        ),
    ],
    ids=["sqrt", "div", "exp", "log", "empty mask"],
)
def test_names_the_op(between, op, value) -> None:
    report = check(Net(between))
    assert [(item.code, item.level.value) for item in report.findings] == [("SIG003", "error")]
    assert (report.findings[0].evidence["op"], report.findings[0].evidence["value"]) == (op, value)
    assert report.findings[0].location.function is not None


@pytest.mark.parametrize("loss", [lambda out, y: out[y > 5].square().mean(), lambda out, y: (out - 1)[:0].std()])
def test_a_mean_over_nothing_is_called_so(loss) -> None:
    (finding,) = check(Net(torch.relu), targets=torch.arange(16) % 5, loss=loss).findings
    assert "from an empty tensor of shape 0 x 5" in finding.message
    assert "at least one sample" in finding.fix


class Attention(nn.Module):
    """Causal self-attention with a mask of -inf, made in one of several ways."""

    def __init__(self, mask):
        super().__init__()
        torch.manual_seed(0)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.mask = mask

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = q @ k.transpose(1, 2) / 4
        return self.out(torch.softmax(self.mask(scores), -1) @ v)


def filled(scores):
    return scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float("-inf"))


def added(scores):
    return scores + torch.full_like(scores, float("-inf")).triu(1)


def logarithm(scores):
    return scores + torch.ones_like(scores).tril().log()


@pytest.mark.parametrize("mask", [filled, added, logarithm])
def test_attention_masks_are_silent(mask) -> None:
    torch.manual_seed(0)
    report = check(Attention(mask), torch.randn(4, 7, 16))
    assert report.findings == []
    assert report.skipped == []


def test_nan_that_is_replaced_again_is_an_info() -> None:
    def between(h):
        return torch.nan_to_num(torch.relu(h.sqrt()))

    report = check(Net(between))
    assert [item.level.value for item in report.findings] == ["info"]


def test_loss_that_overflows() -> None:
    class Loss(nn.Module):
        def forward(self, output, targets):
            return torch.exp(output * 1e4).mean()

    report = check(Net(torch.relu), loss=Loss(), targets=torch.zeros(16))
    assert [item.evidence["op"] for item in report.findings] == ["exp"]


def test_finite_net_is_silent() -> None:
    assert check(Net(torch.relu)).findings == []


class Standardized(nn.Module):
    """Divides by a running deviation in evaluation mode, as batch norms written by hand do."""

    def __init__(self, *, eps=0.0, momentum=0.1):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(16, 32), nn.Linear(32, 5)
        self.eps, self.momentum = eps, momentum
        self.register_buffer("deviation", torch.zeros(32))

    def forward(self, x):
        h = self.fc1(x)
        if not self.training:
            return self.fc2(h / (self.deviation + self.eps))
        deviation = h.std(0)
        self.deviation.lerp_(deviation.detach(), self.momentum)
        return self.fc2(h / deviation)


def test_evaluation_mode_alone() -> None:
    (found,) = check(Standardized(momentum=0.0)).findings
    assert found.level.value == "error"
    assert (found.evidence["op"], found.evidence["mode"]) == ("div", "evaluation")
    assert found.location.function == "Standardized.forward"


def test_evaluation_mode_before_the_first_update_is_a_warning() -> None:
    (found,) = check(Standardized()).findings
    assert found.level.value == "warning"
    assert "after a few updates it is gone" in found.message


def test_guarded_evaluation_is_silent() -> None:
    report = check(Standardized(eps=1e-5))
    assert (report.findings, report.skipped) == ([], [])


def test_masked_logits_in_evaluation_are_silent() -> None:
    class Masked(Net):
        def forward(self, x):
            logits = super().forward(x)
            return logits if self.training else logits.masked_fill(torch.arange(5) == 0, float("-inf"))

    assert check(Masked(torch.relu)).findings == []
