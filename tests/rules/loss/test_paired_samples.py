"""LOS015 and LOS008 where the axis of the samples is followed through what is written by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Normal
from torch.nn import functional as F

from nnlint.finding import Level
from nnlint.testing import findings

X, COLUMN, ROW = torch.randn(24, 6), torch.randn(24, 1), torch.randn(24)
BINARY = (torch.arange(24) % 2).float()


class Net(nn.Module):
    """A body with one value a sample (as a row), one as a column, three logits, and a sequence of five."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
        self.value, self.policy, self.steps = nn.Linear(16, 1), nn.Linear(16, 3), nn.Linear(16, 5)

    def forward(self, x):
        h = self.body(x)
        column = self.value(h)
        return {"row": column.squeeze(-1), "column": column, "logits": self.policy(h), "steps": self.steps(h)}


def judged(code, loss, targets):
    torch.manual_seed(0)
    return findings(code, {"model": Net(), "inputs": X, "targets": targets, "loss": loss})


def clipped_policy(out, target):
    action, advantage = target
    ratio = Categorical(logits=out["logits"]).log_prob(action).exp()
    return -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()


def policy_gradient(out, target):
    action, advantage = target
    return -(F.log_softmax(out["logits"], 1).gather(1, action[:, None]).squeeze(1) * advantage).mean()


def gathered_column(out, target):
    action, advantage = target
    return -(F.log_softmax(out["logits"], 1).gather(1, action[:, None]) * advantage).sum()


def squared(out, y):
    return ((out["column"] - y) ** 2).mean()


def absolute(out, y):
    return torch.abs(y - out["column"]).mean()


def binary(out, y):
    p = torch.sigmoid(out["column"]).clamp(1e-6, 1 - 1e-6)
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def likelihood(out, y):
    return -Normal(out["column"], 1.0).log_prob(y).mean()


def huber(out, y):
    error = out["row"] - y
    return torch.where(error.abs() < 1, 0.5 * error**2, error.abs() - 0.5).mean()


def weighted(out, target):
    y, weight = target
    return (weight * (out["row"] - y) ** 2).mean()


def steps_against_one(out, y):
    """(N, 5) summed with keepdim against (N,)."""
    return ((out["steps"].sum(1, keepdim=True) - y) ** 2).mean()


def temporal_difference(out, target):
    reward, done = target
    return (reward + 0.9 * (1 - done) * out["row"].detach() - out["row"]).square().mean()


ACTIONS = torch.arange(24) % 3
PAIRED = [
    (clipped_policy, (ACTIONS, COLUMN)),
    (policy_gradient, (ACTIONS, COLUMN)),
    (gathered_column, (ACTIONS, ROW)),
    (squared, ROW),
    (absolute, ROW),
    (binary, BINARY),
    (likelihood, ROW),
    (huber, COLUMN),
    (weighted, (ROW, COLUMN)),
    (steps_against_one, ROW),
    (temporal_difference, (COLUMN, BINARY[:, None])),
]


@pytest.mark.parametrize(("loss", "targets"), PAIRED, ids=lambda value: getattr(value, "__name__", ""))
def test_every_sample_with_every_other(loss, targets):
    found = judged("LOS015", loss, targets)
    assert {item.level for item in found} == {Level.ERROR}
    assert found[0].evidence["samples"] == 24


def test_a_column_that_the_loss_makes_itself_is_a_warning():
    (found,) = judged("LOS015", lambda out, y: (out["row"] - y.unsqueeze(1)).square().mean(), ROW)
    assert found.level is Level.WARNING


def ranking(out, y):
    s = out["row"]
    wanted = (y[:, None] > y[None, :]).float()
    return (F.softplus(s[None, :] - s[:, None]) * wanted).mean()


def kernel(out, y):
    """A maximum mean discrepancy: all pairs are meant."""
    s = out["row"]
    return torch.exp(-((s[:, None] - s) ** 2)).mean() - 2 * torch.exp(-((s[:, None] - y[None, :]) ** 2)).mean()


def contrastive(out, y):
    z = F.normalize(out["logits"], dim=1)
    same = (y.unsqueeze(0) == y.unsqueeze(1)).float()
    return -(F.log_softmax(z @ z.T, 1) * same).mean()


def quantiles(out, y):
    error = y.unsqueeze(1) - out["steps"]
    levels = torch.linspace(0.1, 0.9, 5)
    return torch.maximum(levels * error, (levels - 1) * error).mean()


def per_sample_weight(out, target):
    y, weight = target
    return (weight * F.cross_entropy(out["logits"], y, reduction="none")).mean()


def nearest(out, y):
    """Each prediction against the nearest target."""
    return (out["column"] - y).abs().amin(1).mean()


def centred(out, y):
    s = out["column"]
    return ((s - s.mean(0)) - (y[:, None] - y.mean())).square().mean()


def class_weights(out, y):
    return (torch.tensor([1.0, 2.0, 3.0]) * F.log_softmax(out["logits"], 1)).sum(1).neg().mean() + 0 * y.sum()


def flat(out, y):
    return (out["column"].view(-1) - y.view(-1)).square().mean()


def moment(out, y):
    """The scale of the batch: one number."""
    return (out["row"] / out["row"].std() - y).square().mean()


MEANT = [
    (ranking, ROW),
    (kernel, ROW),
    (contrastive, ACTIONS),
    (quantiles, ROW),
    (per_sample_weight, (ACTIONS, ROW.abs())),
    (nearest, ROW),
    (centred, ROW),
    (class_weights, ACTIONS),
    (flat, ROW),
    (moment, ROW),
    (clipped_policy, (ACTIONS, ROW)),
    (squared, COLUMN),
    (binary, BINARY[:, None]),
]


@pytest.mark.parametrize(("loss", "targets"), MEANT, ids=lambda value: getattr(value, "__name__", ""))
def test_pairs_that_are_meant_and_shapes_that_fit(loss, targets):
    assert not judged("LOS015", loss, targets)


# -------------------------------------------------------------------- LOS008

CLASSES = torch.arange(6) % 6


class Classifier(nn.Module):
    def __init__(self, head, outputs=6):
        super().__init__()
        self.body, self.out, self.head = nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, outputs), head

    def forward(self, x):
        return self.head(self.out(self.body(x)))


def softmaxed(head, loss, inputs=None, targets=CLASSES, outputs=6):
    torch.manual_seed(0)
    inputs = torch.randn(6, 8) if inputs is None else inputs
    return findings("LOS008", {"model": Classifier(head, outputs), "inputs": inputs, "targets": targets, "loss": loss})


def written(z):
    e = torch.exp(z - z.amax(0, keepdim=True))
    return e / e.sum(0, keepdim=True)


OVER_BATCH = [
    (lambda z: z.log_softmax(0), F.nll_loss),
    (nn.LogSoftmax(dim=-2), F.nll_loss),
    (lambda z: z.T.log_softmax(1).T, F.nll_loss),
    (lambda z: z.unsqueeze(1).softmax(0).squeeze(1).log(), F.nll_loss),
    (lambda z: written(z).log(), F.nll_loss),
    (lambda z: F.normalize(z, dim=0), F.cross_entropy),
    (lambda z: z, lambda out, y: F.nll_loss(F.log_softmax(out, 0), y)),
    (lambda z: z, lambda out, y: -(F.log_softmax(out, 0) * F.one_hot(y, 6)).sum(1).mean()),
    (lambda z: z.view(6, 2, 3).softmax(0).flatten(1), F.cross_entropy),
    (lambda z: F.softmax(z.permute(1, 0), dim=1).t(), F.cross_entropy),
]


@pytest.mark.parametrize(("head", "loss"), OVER_BATCH)
def test_as_many_samples_as_classes(head, loss):
    (found,) = softmaxed(head, loss)
    assert found.level is Level.ERROR


def correlated(out, y):
    """Barlow twins: columns of unit length, their products summed over the batch."""
    z = F.normalize(out, dim=0)
    return (z.T @ z - torch.eye(6)).square().sum() + 0 * y.sum()


def both_ways(out, y):
    similarity = out @ out.T
    return -(similarity.log_softmax(0).diagonal() + similarity.log_softmax(1).diagonal()).mean() + 0 * y.sum()


def weighted_samples(out, y):
    each = F.cross_entropy(out, y, reduction="none")
    return (each * F.softmax(each.detach()[:, None], dim=0).squeeze(1)).sum()


@torch.no_grad()
def assigned(z):
    q = torch.exp(z)
    for _ in range(2):
        q = q / q.sum(0, keepdim=True)
        q = q / q.sum(1, keepdim=True)
    return q


def prototypes(out, y):
    return -(assigned(out) * F.log_softmax(out, 1)).sum(1).mean() + 0 * y.sum()


RIGHT = [
    (lambda z: z.log_softmax(1), F.nll_loss),
    (lambda z: z.T.log_softmax(0).T, F.nll_loss),
    (lambda z: z, F.cross_entropy),
    (lambda z: F.normalize(z, dim=1), F.cross_entropy),
    (lambda z: z, correlated),
    (lambda z: z, both_ways),
    (lambda z: z, weighted_samples),
    (lambda z: z, prototypes),
    (lambda z: z.view(6, 2, 3).softmax(1).flatten(1), F.cross_entropy),
    (lambda z: (z.exp() / z.exp().sum(1, keepdim=True)).log(), F.nll_loss),
]


@pytest.mark.parametrize(("head", "loss"), RIGHT)
def test_softmax_that_is_meant(head, loss):
    assert not softmaxed(head, loss)


def test_a_bag_of_instances():
    """Attention over the instances of one bag: they are no samples."""

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.score, self.out = nn.Linear(8, 1), nn.Linear(8, 2)

        def forward(self, x):
            weights = self.score(x).softmax(0)
            return self.out((weights * x).sum(0, keepdim=True))

    case = {"model": Bag(), "inputs": torch.randn(9, 8), "targets": torch.tensor([1]), "loss": F.cross_entropy}
    assert not findings("LOS008", case)
