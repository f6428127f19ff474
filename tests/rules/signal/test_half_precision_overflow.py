"""SIG008 half-precision-overflow: an operation that raises, overflows or loses its values in the half precision that training uses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from tests.rules.signal.collapse_and_precision import scores


class Net(nn.Module):
    """Two layers with something between that `between` does."""

    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.norm, self.head = nn.Linear(20, 32), nn.LayerNorm(32), nn.Linear(32, 5)
        self.between = between

    def forward(self, x):
        return self.head(self.norm(self.between(self.body(x))))


def lowered(between, precision="fp16", **settings):
    torch.manual_seed(1)
    fields = {"inputs": torch.randn(16, 20), "targets": torch.arange(16) % 5, "loss": nn.CrossEntropyLoss()}
    if precision is not None:
        fields |= {"precision": precision, "grad_scaler": True}
    return nnlint.check({"model": Net(between), **fields}, select=["SIG008"], **settings).results[0]


def times(factor):
    return lambda h: F.linear(h, factor * torch.eye(32))


huge = times(1e6)


def unscaled(h):
    """Scores of long vectors, unscaled: a matrix product is computed in half precision."""
    long = (100.0 * h).repeat(1, 100)
    return h + torch.softmax(long @ long.t(), dim=1) @ h


def cancelling(h):
    """A small difference of large numbers: bfloat16 has three digits."""
    return F.linear(h + 1e4, torch.eye(32)) - 1e4


@pytest.mark.parametrize(("between", "place"), [(huge, "linear"), (scores, "matmul")], ids=["weights", "scores"])
def test_values_beyond_the_range_are_measured_in_the_default_profile(between, place):
    (finding,) = lowered(between).findings
    assert finding.level.value == "error"
    assert "gives NaN or infinity under fp16" in finding.message
    assert "largest number of float16: 65504" in finding.message
    assert place in finding.message


@pytest.mark.parametrize(
    ("between", "precision"),
    [
        (times(1e3), "fp16"),
        (huge, "bf16"),
        (huge, None),
        (lambda h: h, "fp16"),
    ],
    ids=["within", "bfloat16", "full precision", "plain"],
)
def test_values_that_fit(between, precision):
    result = lowered(between, precision)
    assert (result.findings, result.skipped) == ([], [])


def test_the_measured_overflow_names_the_first_infinite_layer():
    (finding,) = lowered(unscaled).findings
    assert "matmul" in finding.message
    assert finding.evidence["abs_max"] > 65504
    assert "train in bfloat16" in finding.fix


def test_what_is_lost_in_bfloat16_is_measured():
    (finding,) = lowered(cancelling, "bf16").findings
    assert finding.level.value == "warning"
    assert "differs from float32 by" in finding.message
    assert finding.evidence["relative_error"] > 0.5
    assert "bfloat16" not in finding.fix


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_healthy_net_in_either_precision(precision):
    result = lowered(F.gelu, precision, deep=True)
    assert (result.findings, result.skipped) == ([], [])


def test_limits_are_options():
    strict = {"SIG008": {"relative_error": 1e-6}}
    assert len(lowered(F.gelu, "bf16", rules=strict).findings) == 1


def fill(h):
    return h.masked_fill(torch.arange(32) > 20, -1e9)


def test_an_exception_in_half_precision_is_a_finding_with_its_line():
    (finding,) = lowered(fill).findings
    assert finding.level.value == "error"
    assert "masked_fill in fill raises under fp16" in finding.message
    assert finding.location.line == fill.__code__.co_firstlineno + 1
    assert "torch.finfo(scores.dtype).min" in finding.fix


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_region_without_autocast_runs_in_float32(device):
    def careful(h):
        with torch.autocast(device, enabled=False):
            return F.linear(fill(1e6 * h.float()), torch.eye(32)) / 1e6

    assert lowered(careful).findings == []


@pytest.mark.parametrize(
    "between",
    [
        lambda h: h * 300.0 * torch.rsqrt((h * 300.0).pow(2).mean(-1, keepdim=True)),
        lambda h: F.layer_norm((h.abs() * 300.0)[:, :, None].expand(-1, -1, 4000).sum(-1), (32,)),
        lambda h: torch.logsumexp(h[:, None] * h[:, :, None], 2),
    ],
    ids=["pow", "sum", "logsumexp"],
)
def test_what_a_gpu_computes_in_float32_does_not_overflow(between):
    assert lowered(between).findings == []


def test_a_loss_that_autocast_refuses_inside_the_model():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())

        def forward(self, x, labels):
            made = self.net(x)
            return {"loss": F.binary_cross_entropy(made, labels), "made": made}

    torch.manual_seed(0)
    given = {"model": Own(), "inputs": {"x": torch.randn(16, 20), "labels": (torch.arange(16) % 2.0)[:, None]}}
    (finding,) = nnlint.check({**given, "precision": "fp16"}, select=["SIG008"]).results[0].findings
    assert "unsafe to autocast" in finding.message
    assert "binary_cross_entropy_with_logits" in finding.fix
    assert nnlint.check({**given, "precision": "bf16"}, select=["SIG008"]).results[0].findings == []
