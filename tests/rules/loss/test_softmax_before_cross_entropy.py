"""LOS001: what counts as a second softmax, in every form, and what does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.testing import Mlp, findings, mlp_setup, skipped

CODE = "LOS001"


def two_step(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.nll_loss(F.log_softmax(output, dim=1), labels)


class LabelSmoothing(nn.Module):
    """A hand-written loss: log_softmax inside a module."""

    def forward(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        log_probabilities = output.log_softmax(dim=-1)
        picked = log_probabilities.gather(1, labels[:, None]).squeeze(1)
        return -(0.9 * picked + 0.1 * log_probabilities.mean(1)).mean()


@pytest.mark.parametrize(
    "head",
    [
        nn.Softmax(dim=1),
        lambda z: F.softmax(z, dim=-1),
        lambda z: z.softmax(1),
        lambda z: torch.softmax(z, dim=1, dtype=torch.float64).float(),
        lambda z: F.dropout(z.softmax(1), 0.1),
        lambda z: z.softmax(1).unsqueeze(0).squeeze(0).clone(),
        lambda z: z.softmax(1).clamp(1e-6, 1.0),
        lambda z: torch.cat([z[:, :2].softmax(1), z[:, 2:].softmax(1)], dim=1),
        nn.Sequential(nn.Softmax(dim=1), nn.Identity()),
    ],
)
@pytest.mark.parametrize(
    "loss",
    [nn.CrossEntropyLoss(), F.cross_entropy, two_step, LabelSmoothing(), lambda o, t: 0.5 * F.cross_entropy(o, t)],
)
def test_a_second_softmax_is_found(head: Callable[..., Any], loss: Callable[..., Any]) -> None:
    found = findings(CODE, mlp_setup(head, loss))
    assert found
    assert all("applies softmax itself" in item.message for item in found)


def test_the_message_names_the_floor() -> None:
    (found,) = findings(CODE, mlp_setup(nn.Softmax(dim=1), nn.CrossEntropyLoss()))
    assert found.evidence["loss_floor"] == pytest.approx(math.log(math.e + 4) - 1)
    assert found.module == "head"


def test_loss_arguments_by_keyword() -> None:
    loss = lambda output, labels: F.cross_entropy(target=labels, input=output)  # noqa: E731
    assert findings(CODE, mlp_setup(nn.Softmax(dim=1), loss))
    assert not findings(CODE, mlp_setup(None, loss))


@pytest.mark.parametrize(
    ("head", "loss"),
    [
        (None, nn.CrossEntropyLoss()),
        (nn.LogSoftmax(dim=1), nn.CrossEntropyLoss()),
        (lambda z: torch.log(z.softmax(1)), nn.CrossEntropyLoss()),
        (lambda z: z.softmax(1), nn.MSELoss()),
        (nn.LogSoftmax(dim=1), nn.NLLLoss()),
    ],
)
def test_one_softmax_is_silent(head: Callable[..., Any] | None, loss: Callable[..., Any]) -> None:
    targets = torch.rand(40, 5) if isinstance(loss, nn.MSELoss) else None
    assert not findings(CODE, mlp_setup(head, loss, targets))


def test_softmax_beside_the_logits_is_silent() -> None:
    case = mlp_setup(lambda z: (z, z.softmax(1)), lambda output, labels: F.cross_entropy(output[0], labels))
    assert not findings(CODE, case)


def test_softmax_for_a_metric_is_silent() -> None:
    def loss(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        accuracy = (output.softmax(1).argmax(1) == labels).float().mean()
        assert 0 <= accuracy <= 1
        F.cross_entropy(output.softmax(1), labels)  # shown, not trained with
        return F.cross_entropy(output, labels)

    assert not findings(CODE, mlp_setup(None, loss))


def test_teacher_probabilities_are_targets() -> None:
    def distill(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(output, torch.randn(40, 5).softmax(1))

    assert not findings(CODE, mlp_setup(None, distill))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.head = (
            nn.Linear(16, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 5),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = (self.query(x) @ self.key(x).transpose(1, 2) / 4).softmax(-1)
        return self.head((weights @ self.value(x)).mean(1))


def test_attention_is_silent() -> None:
    torch.manual_seed(0)
    case = {
        "model": Attention(),
        "inputs": torch.randn(8, 6, 16),
        "targets": torch.arange(8) % 5,
        "loss": F.cross_entropy,
    }
    assert not findings(CODE, case)


class OwnLoss(nn.Module):
    """Computes its loss inside forward."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.net = Mlp()
        self.twice = twice

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(x)
        output = logits.softmax(1) if self.twice else logits
        return {"loss": F.cross_entropy(output, labels), "logits": logits}


@pytest.mark.parametrize("twice", [True, False])
def test_loss_inside_forward(twice: bool) -> None:
    torch.manual_seed(0)
    case = {"model": OwnLoss(twice=twice), "inputs": {"x": torch.randn(40, 12), "labels": torch.arange(40) % 5}}
    assert bool(findings(CODE, case)) is twice


@pytest.mark.parametrize("twice", [True, False])
def test_loss_of_a_training_step(twice: bool) -> None:
    def step(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        output = model(inputs)
        return F.cross_entropy(output.softmax(1) if twice else output, labels)

    case = mlp_setup(None, F.cross_entropy) | {"loss": None, "own_loss": step}
    assert bool(findings(CODE, case)) is twice


def test_found_by_a_static_check() -> None:
    assert findings(CODE, mlp_setup(nn.Softmax(dim=1), nn.CrossEntropyLoss()), static=True)


def test_found_although_the_loss_raises() -> None:
    case = mlp_setup(nn.Softmax(dim=1), nn.CrossEntropyLoss(), torch.arange(40) % 6)
    assert findings(CODE, case)


def test_skipped_without_a_loss() -> None:
    torch.manual_seed(0)
    assert skipped(CODE, {"model": Mlp(head=nn.Softmax(dim=1)), "inputs": torch.randn(8, 12)}) == "no loss given"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize(
    ("head", "codes"),
    [
        (lambda z: F.softplus(z) / F.softplus(z).sum(1, keepdim=True), [CODE]),
        (lambda z: z.exp() / z.exp().sum(1, keepdim=True), [CODE]),
        (lambda z: F.softplus(z) / 5, []),
        (lambda z: z, []),
    ],
)
def test_probabilities_in_half_precision(dtype: torch.dtype, head: Any, codes: list[str]) -> None:
    torch.manual_seed(0)
    model = nn.Linear(20, 5).to(dtype)
    model.register_forward_hook(lambda *parts: head(parts[2]))
    case = {"model": model, "inputs": torch.randn(32, 20).to(dtype), "targets": torch.arange(32) % 5, "loss": nn.CrossEntropyLoss()}
    assert [finding.code for finding in nnlint.check(case, select=[CODE]).findings] == codes
