"""What the loss probe says of losses of all kinds, whoever wrote them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Skip
from nnlint.probes.loss_response.stats import LossResponse
from tests.probes.sessions import session

SAMPLES = 40
LABELS = torch.arange(SAMPLES) % 5
BINARY = (torch.arange(SAMPLES) % 3 == 0).float()[:, None]
NUMBERS = torch.randn(SAMPLES, 1, generator=torch.Generator().manual_seed(0))


def net(outputs: int, last: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, outputs), *([last] if last is not None else []))


def inputs() -> torch.Tensor:
    return torch.randn(SAMPLES, 12, generator=torch.Generator().manual_seed(1))


def response(
    loss: Callable[..., Any], targets: Any, outputs: int = 5, last: nn.Module | None = None, **fields: Any
) -> LossResponse:
    made = session(net(outputs, last), inputs(), targets=targets, loss=loss, **fields)
    found: LossResponse = made.evidence("LossResponse")
    made.close()
    return found


def dice(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


@pytest.mark.parametrize(
    ("loss", "targets", "outputs", "last", "kind", "takes"),
    [
        (nn.CrossEntropyLoss(), LABELS, 5, None, "cross-entropy", "logits"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), LABELS, 5, None, "cross-entropy", "logits"),
        (nn.NLLLoss(), LABELS, 5, nn.LogSoftmax(1), "cross-entropy", "log-probabilities"),
        (lambda o, t: -o.log().gather(1, t[:, None]).mean(), LABELS, 5, nn.Softmax(1), "cross-entropy", "probabilities"),
        (lambda o, t: (o.logsumexp(1) - o[torch.arange(SAMPLES), t]).mean(), LABELS, 5, None, "cross-entropy", "logits"),
        (lambda o, t: -(o.log_softmax(1) * F.one_hot(t, 5)).sum(1).mean(), LABELS, 5, None, "cross-entropy", "logits"),
        (nn.BCEWithLogitsLoss(), BINARY, 1, None, "binary", "logits"),
        (nn.BCELoss(), BINARY, 1, nn.Sigmoid(), "binary", "probabilities"),
        (lambda o, t: 1 - dice(o, t), BINARY, 1, nn.Sigmoid(), "binary", "probabilities"),
        (nn.MSELoss(), NUMBERS, 1, None, "regression", "values"),
        (lambda o, t: (o - t).cosh().log().mean(), NUMBERS, 1, None, "regression", "values"),
        (nn.SmoothL1Loss(), NUMBERS, 1, None, "regression", "values"),
        (lambda o, t: (o * t).mean(), 2 * BINARY - 1, 1, None, "linear", "unknown"),
    ],
)
def test_kind_and_domain(
    loss: Callable[..., Any], targets: torch.Tensor, outputs: int, last: nn.Module | None, kind: str, takes: str
) -> None:
    found = response(loss, targets, outputs, last)
    assert (found.kind, found.takes) == (kind, takes)


@pytest.mark.parametrize(
    ("reduction", "loss"),
    [
        ("mean", nn.CrossEntropyLoss()),
        ("sum", nn.CrossEntropyLoss(reduction="sum")),
        ("sum", lambda o, t: sum(-row.log_softmax(0)[label] for row, label in zip(o, t, strict=True))),
        ("mean", lambda o, t: F.cross_entropy(o, t, reduction="sum") / len(t)),
        ("none", nn.CrossEntropyLoss(reduction="none")),
    ],
)
def test_reduction(reduction: str, loss: Callable[..., Any]) -> None:
    assert response(loss, LABELS).reduction == reduction


def test_shift_invariance_and_coupling() -> None:
    plain = response(nn.CrossEntropyLoss(), LABELS)
    assert (plain.shift_invariant, plain.couples_samples) == (True, False)

    def contrastive(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        z = F.normalize(z, dim=1)
        return F.cross_entropy(z @ z.T, (y[:, None] == y).float() / 8)

    assert response(contrastive, LABELS).couples_samples is True
    assert response(nn.MultiMarginLoss(), LABELS).shift_invariant is True
    assert response(nn.NLLLoss(), LABELS, last=nn.LogSoftmax(1)).shift_invariant is False


RIGHT = [nn.MSELoss(), nn.L1Loss(), lambda o, t: 1 - F.cosine_similarity(o.T, t.T).mean()]


@pytest.mark.parametrize("loss", RIGHT)
def test_right_answers_are_preferred_until_the_sign_is_changed(loss: Callable[..., torch.Tensor]) -> None:
    assert response(loss, NUMBERS, 1).prefers_right is True
    assert response(lambda o, t: -loss(o, t), NUMBERS, 1).prefers_right is False


def test_each_target_value_has_a_verdict_of_its_own() -> None:
    found = response(nn.BCEWithLogitsLoss(pos_weight=torch.tensor([-3.0])), BINARY, 1)
    verdicts = {part.about: part.prefers_right for part in found.preferences if part.form == "logits"}
    assert verdicts == {None: None, 0.0: True, 1.0: False}


@pytest.mark.parametrize(
    "loss",
    [
        lambda d, same: (same * d**2 + (1 - same) * F.relu(1 - d) ** 2).mean(),
        lambda energy, y: F.binary_cross_entropy_with_logits(-energy, y),
        lambda s, y: F.relu(1 + s * (2 * y - 1)).mean(),
    ],
)
def test_what_is_small_where_the_label_is_large_is_not_judged(loss: Callable[..., torch.Tensor]) -> None:
    assert response(loss, BINARY, 1).prefers_right is None
    assert response(loss, BINARY, 1, nn.Softplus()).prefers_right is None


def test_signed_weights_among_the_targets_are_not_judged() -> None:
    loss = lambda o, t: -(o.log_softmax(1).gather(1, t[0][:, None])[:, 0] * t[1]).mean()  # noqa: E731
    assert response(loss, (LABELS, -torch.rand(SAMPLES) - 0.1)).prefers_right is None


def test_says_why_it_does_not_know() -> None:
    assert "takes no targets" in response(lambda o: o.square().mean(), None).why_unknown
    assert "no form" in response(lambda o, t: (o.mean() - t.mean()) ** 2, torch.randn(7)).why_unknown
    noise = response(lambda o, t: F.mse_loss(o, t) * next(_counter), NUMBERS, 1)
    assert "differs from call to call" in noise.why_unknown
    with pytest.raises(Skip, match="differs"):
        noise.require_preference()


_counter = iter(range(1, 1000))


def test_ignored_labels_stay_out() -> None:
    labels = torch.where(torch.arange(SAMPLES) % 4 == 0, -100, LABELS)
    assert response(nn.CrossEntropyLoss(), labels).prefers_right is True
    assert response(lambda o, t: -F.cross_entropy(o, t), labels).prefers_right is False


class Outputs(nn.Module):
    """Its output in another structure."""

    def __init__(self, make: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.net, self.make = net(5), make

    def forward(self, x: torch.Tensor) -> Any:
        return self.make(self.net(x))


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (lambda z: (z, z.mean()), lambda out: out[0]),
        (lambda z: {"logits": z, "aux": [z.detach()]}, lambda out: out["logits"]),
        (lambda z: [z.detach(), z], lambda out: out[1]),
    ],
)
def test_nested_outputs(make: Callable[[torch.Tensor], Any], read: Callable[[Any], torch.Tensor]) -> None:
    fields: dict[str, Any] = {"targets": LABELS, "loss": lambda out, y: -F.cross_entropy(read(out), y)}
    found = session(Outputs(make), inputs(), **fields).evidence("LossResponse")
    assert found.prefers_right is False


class InForward(nn.Module):
    """Computes its loss itself."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.body, self.head, self.sign, self.calls = nn.Linear(12, 32), nn.Linear(32, 5), sign, 0

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls += 1
        logits = self.head(torch.relu(self.body(x)))
        return {"loss": self.sign * F.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_loss_inside_forward_is_called_without_its_layers(sign: float) -> None:
    model = InForward(sign)
    made = session(model, {"x": inputs(), "labels": LABELS})
    ran: list[int] = []
    handle = model.body.register_forward_hook(lambda *_: ran.append(1))
    found = made.evidence("LossResponse")
    handle.remove()
    made.close()
    assert found.prefers_right is (sign > 0)
    assert (model.calls, "forward" in vars(model.body)) == (0, False)


def test_leaves_everything_as_it_was() -> None:
    critic = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    model, state = net(5), torch.get_rng_state()
    made = session(model, inputs(), targets=BINARY, loss=lambda o, t: F.binary_cross_entropy_with_logits(critic(o), t))
    made.evidence("LossResponse")
    made.close()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())
    assert all(parameter.grad is None for parameter in (*model.parameters(), *critic.parameters()))
