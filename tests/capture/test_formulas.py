"""Written-out activations and losses are recognized in the recorded graph, look-alikes are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.probes.sessions import session

SAMPLES = 24
LABELS = torch.arange(SAMPLES) % 5
BINARY = (torch.arange(SAMPLES) % 3 == 0).float()[:, None]
NUMBERS = torch.linspace(-1, 1, SAMPLES)[:, None]
ROWS = torch.arange(SAMPLES)


class Head(nn.Module):
    def __init__(self, outputs: int, last: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.last = nn.Linear(12, 16), nn.Linear(16, outputs), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.head(torch.relu(self.body(x))))


def ops(last: Callable[[torch.Tensor], torch.Tensor], outputs: int = 5) -> list[Any]:
    """The written-out ops of a head."""
    made = session(Head(outputs, last), torch.randn(SAMPLES, 12))
    graph = made.evidence("Graph")
    made.close()
    return [op for op in graph.ops if "formula" in op.node.meta]


def terms(loss: Callable[..., torch.Tensor], targets: torch.Tensor, outputs: int = 5, last: Any = None) -> list[Any]:
    """The loss calls of a hand-written loss."""
    head = Head(outputs, last or (lambda z: z))
    made = session(head, torch.randn(SAMPLES, 12), targets=targets, loss=loss)
    found = made.evidence("LossCalls")
    made.close()
    return list(found.calls)


def shifted(x: torch.Tensor) -> torch.Tensor:
    e = torch.exp(x - x.max(dim=1, keepdim=True).values)
    return e / torch.sum(e, dim=1, keepdim=True)


def by_inverse(x: torch.Tensor) -> torch.Tensor:
    e = (x - x.amax(-1)[:, None]).exp()
    return e * (1 / e.sum(-1).unsqueeze(1))


def guarded(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(x).div(torch.exp(x).sum(1)[:, None].expand_as(x) + 1e-9)


def detached(x: torch.Tensor) -> torch.Tensor:
    largest, _ = x.max(1, keepdim=True)
    e = (x - largest.detach()).exp()
    return torch.div(e, e.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("written", [shifted, by_inverse, guarded, detached, lambda x: F.normalize(x.exp(), p=1, dim=1)])
def test_softmax(written: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = torch.randn(4, 5)
    assert torch.allclose(written(x), x.softmax(1), atol=1e-6)
    (op,) = ops(written)
    assert (op.name, op.argument("dim") % 2, op.input.name, op.range) == ("softmax", 1, "linear", (0.0, 1.0))
    assert op.is_kind("softmax")
    assert "softmax" in op.label


@pytest.mark.parametrize(
    "written",
    [
        lambda x: x - x.logsumexp(1, keepdim=True),
        lambda x: x - torch.log(torch.exp(x).sum(1, keepdim=True)),
        lambda x: x - torch.logsumexp(x, dim=-1)[:, None],
    ],
)
def test_log_softmax(written: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = torch.randn(4, 5)
    assert torch.allclose(written(x), x.log_softmax(1), atol=1e-6)
    (op,) = ops(written)
    assert (op.name, op.input.name) == ("log_softmax", "linear")


@pytest.mark.parametrize(
    "written",
    [
        lambda x: 1 / (1 + torch.exp(-x)),
        lambda x: (1 + (-x).exp()).reciprocal(),
        lambda x: x.exp() / (1 + x.exp()),
        lambda x: torch.pow(torch.exp(-x) + 1.0, -1),
        lambda x: 1.0 / (1.0 + torch.exp(-1 * x)),
    ],
)
def test_sigmoid(written: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = torch.randn(4, 5)
    assert torch.allclose(written(x), x.sigmoid(), atol=1e-6)
    (op,) = ops(written)
    assert (op.name, op.input.name) == ("sigmoid", "linear")


@pytest.mark.parametrize(
    "written",
    [
        lambda x: x / x.sum(1, keepdim=True),
        lambda x: x.exp() / x.square().sum(1, keepdim=True),
        lambda x: x.exp() / torch.exp(2 * x).sum(1, keepdim=True),
        lambda x: x.relu() / (1 + x.relu()),
        lambda x: 1 / (1 + torch.exp(x).relu() + x.abs()),
        lambda x: 2 / (1 + torch.exp(-x)) - 1,
        lambda x: x - x.mean(1, keepdim=True),
        lambda x: x - x.square().logsumexp(1, keepdim=True),
        lambda x: torch.exp(x) / torch.exp(x).sum(),
        lambda x: F.normalize(x.exp(), dim=1),
    ],
)
def test_look_alikes(written: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert ops(written) == []


@pytest.mark.parametrize(
    ("loss", "reduction"),
    [
        (lambda o, y: -o.log_softmax(1).gather(1, y[:, None]).mean(), "mean"),
        (lambda o, y: -F.log_softmax(o, 1)[ROWS, y].sum(), "sum"),
        (lambda o, y: (o.logsumexp(1) - o[ROWS, y]).mean(), "none"),
        (lambda o, y: -torch.log(o.softmax(1)).gather(1, y.view(-1, 1)).squeeze().mean(), "mean"),
        (lambda o, y: (-torch.log(shifted(o) + 1e-9))[ROWS, y].mean(), "none"),
        (lambda o, y: -(o - o.logsumexp(1, keepdim=True)).gather(1, y.unsqueeze(1)).mean(), "mean"),
    ],
)
def test_cross_entropy(loss: Callable[..., torch.Tensor], reduction: str) -> None:
    found = [term for term in terms(loss, LABELS) if term.kind == "cross_entropy"]
    assert len(found) == 1
    assert found[0].argument("reduction") == reduction
    assert found[0].prediction.name == "linear"
    assert torch.equal(found[0].target_value, LABELS)
    assert found[0].prediction_value.shape == (SAMPLES, 5)


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, y: -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean(),
        lambda p, y: (-(y * (p + 1e-8).log() + (1 - y) * (1 - p + 1e-8).log())).sum(),
        lambda p, y: -torch.mean((1 - y) * torch.log(1 - p.clamp(1e-6, 1 - 1e-6)) + y * torch.log(p.clamp(1e-6, 1 - 1e-6))),
    ],
)
def test_binary_cross_entropy(loss: Callable[..., torch.Tensor]) -> None:
    (term,) = terms(loss, BINARY, 1, torch.sigmoid)
    assert (term.kind, term.prediction.name) == ("binary_cross_entropy", "sigmoid")
    assert torch.equal(term.target_value, BINARY)


@pytest.mark.parametrize(
    ("loss", "kind", "log_input"),
    [
        (lambda z, y: (F.softplus(z) - z * y).mean(), "binary_cross_entropy_with_logits", None),
        (lambda z, y: (z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs()))).mean(), "binary_cross_entropy_with_logits", None),
        (lambda z, y: (z.relu() - y * z + (1 + (-z.abs()).exp()).log()).mean(), "binary_cross_entropy_with_logits", None),
        (lambda z, y: (z.exp() - y * z).mean(), "poisson_nll_loss", True),
        (lambda z, y: -(y * z - torch.exp(z)).mean(), "poisson_nll_loss", True),
        (lambda z, y: (z - y * torch.log(z + 1e-8)).mean(), "poisson_nll_loss", False),
    ],
)
def test_likelihoods(loss: Callable[..., torch.Tensor], kind: str, log_input: bool | None) -> None:
    (found,) = terms(loss, BINARY, outputs=1, last=None if log_input is not False else F.softplus)
    assert (found.kind, found.argument("log_input")) == (kind, log_input)
    assert found.target_value is not None
    assert found.target_value.equal(BINARY)


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (lambda o, y: ((o - y) ** 2).mean(), "mse_loss"),
        (lambda o, y: (y - o).pow(2).sum(), "mse_loss"),
        (lambda o, y: torch.square(o - y).mean(), "mse_loss"),
        (lambda o, y: ((o - y) * (o - y)).mean(), "mse_loss"),
        (lambda o, y: torch.mean(torch.pow(o.squeeze() - y.squeeze(), 2)), "mse_loss"),
        (lambda o, y: (o - y).abs().mean(), "l1_loss"),
    ],
)
def test_errors(loss: Callable[..., torch.Tensor], kind: str) -> None:
    (term,) = terms(loss, NUMBERS, 1)
    assert term.kind == kind
    assert torch.equal(term.target_value.reshape(-1, 1), NUMBERS)
    assert term.prediction_value.numel() == SAMPLES


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, y: (o - o.mean()).square().mean() + 0 * y.mean(),
        lambda o, y: (o - 2 * y).square().mean(),
        lambda o, y: (y * torch.log(o.sigmoid()) + (1 - y) * torch.log(o.sigmoid())).mean(),
        lambda o, y: ((o - y) ** 3).mean(),
    ],
)
def test_no_loss_is_made_up(loss: Callable[..., torch.Tensor]) -> None:
    assert terms(loss, NUMBERS, 1) == []
