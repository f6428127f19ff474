"""The overfit probe: what fits, what cannot, and what proves nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Skip
from nnlint.probes.longer import overfit as probe
from nnlint.probes.session import Plan
from tests.probes.sessions import session


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    """Enough for nets of this size, and quick on a busy machine."""
    monkeypatch.setattr(probe, "_EFFORT", (4e10, 64, 700))


class Headed(nn.Module):
    def __init__(self, head=lambda z: z, classes=10, features=32, activation=torch.relu):
        super().__init__()
        self.body, self.out = nn.Linear(features, 64), nn.Linear(64, classes)
        self.head, self.activation = head, activation

    def forward(self, x):
        return self.head(self.out(self.activation(self.body(x))))


def overfit(model, inputs=None, *, targets=None, loss=None, plan=None, **fields):
    inputs = torch.randn(16, 32) if inputs is None else inputs
    targets = torch.arange(16) % 10 if targets is None else targets
    asked = session(
        model,
        inputs,
        targets=targets,
        loss=loss or nn.CrossEntropyLoss(),
        plan=plan or Plan(probes=("overfit",)),
        **fields,
    )
    return asked.evidence("OverfitRun")


def test_a_healthy_net_fits_with_any_optimizer():
    steps = set()
    for kind, rate in ((torch.optim.SGD, 1e-5), (torch.optim.AdamW, 10.0), (torch.optim.Adagrad, 0.0)):
        torch.manual_seed(0)
        model = Headed()
        run = overfit(model, optimizer=kind(model.parameters(), lr=rate))
        assert run.verdict == "fit"
        steps.add(run.steps_to_fit)
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("head", "classes", "plateau", "name"),
    [
        (lambda z: z.softmax(1), 10, math.log(math.e + 9) - 1, "softmax or sigmoid"),
        (torch.sigmoid, 10, math.log(math.e + 9) - 1, "softmax or sigmoid"),
        (torch.tanh, 100, math.log1p(99 * math.exp(-2)), "between -1 and 1"),
        (lambda z: z * 0.0, 10, math.log(10), "ln C"),
    ],
    ids=["softmax", "sigmoid", "tanh", "zero"],
)
def test_known_plateaus_are_named(head, classes, plateau, name):
    torch.manual_seed(0)
    run = overfit(Headed(head, classes))
    assert run.verdict == "plateau"
    assert run.best_loss == pytest.approx(plateau, rel=0.02)
    assert name in run.known_plateau


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_broadcast_rests_at_the_variance():
    torch.manual_seed(0)
    targets = 2.5 * torch.randn(16)
    run = overfit(Headed(classes=1), targets=targets, loss=nn.MSELoss())
    assert run.verdict == "plateau"
    assert "Var(y)" in run.known_plateau
    assert run.best_loss == pytest.approx(float(targets[:8].var(correction=0)), rel=0.05)


def test_capacity_is_no_fault():
    torch.manual_seed(0)
    few = overfit(nn.Linear(3, 10), torch.randn(16, 3))
    assert few.verdict == "inconclusive"
    assert any("linear model" in limit for limit in few.limits)
    assert overfit(nn.Linear(32, 10)).verdict == "fit"  # eight samples, 32 dimensions: theory allows it


class Faint(nn.Module):
    """Its features are nearly the same for all samples: a bias is learned at once, and then nothing for a while."""

    def __init__(self, scale):
        super().__init__()
        self.body, self.out, self.scale = nn.Linear(32, 64), nn.Linear(64, 2), scale

    def forward(self, x):
        return self.out(1 + self.scale * self.body(x))


@pytest.mark.parametrize(
    ("scale", "steps", "verdict"), [(1e-3, 84, "inconclusive"), (0.0, 84, "inconclusive"), (0.0, 280, "plateau")]
)
def test_the_loss_that_ignores_the_input_is_a_plateau_after_many_steps_only(monkeypatch, scale, steps, verdict):
    monkeypatch.setattr(probe, "_EFFORT", (4e10, steps, steps))
    torch.manual_seed(0)
    run = overfit(Faint(scale), torch.randn(8, 32), targets=torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]))
    assert all(rung.is_flat for rung in run.rungs)
    assert run.verdict == verdict
    assert (run.known_plateau is not None) is (verdict == "plateau")


def test_equal_inputs_with_different_targets():
    torch.manual_seed(0)
    run = overfit(Headed(), torch.ones(16, 32))
    assert run.verdict == "inconclusive"
    assert "samples with the same input have different targets" in run.limits


def test_more_targets_than_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    noise = torch.randint(0, 2, (8, 1, 16, 16)).float()
    run = overfit(model, torch.randn(8, 1, 16, 16), targets=noise, loss=nn.BCEWithLogitsLoss())
    assert run.verdict == "inconclusive"
    assert any("weights for 2048 targets" in limit for limit in run.limits)


def test_losses_whose_floor_nobody_knows():
    torch.manual_seed(0)

    def contrastive(features, _targets):
        normed = F.normalize(features, dim=1)
        return F.cross_entropy(normed @ normed.T, torch.arange(len(features)))

    run = overfit(Headed(), loss=contrastive)
    assert run.verdict == "inconclusive"
    assert run.limits == ("the lowest value of this loss is not known",)


def test_a_random_loss_proves_nothing():
    class Noisy(Headed):
        def forward(self, x):
            return super().forward(x) + 5.0 * torch.randn(len(x), 10)

    torch.manual_seed(0)
    run = overfit(Noisy(lambda z: z.softmax(1)))
    assert "the loss is random" in run.limits


@pytest.mark.parametrize("loss", [nn.NLLLoss(), nn.NLLLoss(reduction="sum")])
def test_a_loss_without_a_floor(loss):
    torch.manual_seed(0)
    run = overfit(Headed(), loss=loss)  # logits into NLL: falls for ever
    assert run.verdict == "inconclusive"


def test_label_smoothing_and_soft_labels_have_a_floor():
    torch.manual_seed(0)
    smooth = overfit(Headed(), loss=nn.CrossEntropyLoss(label_smoothing=0.2))
    right = 0.8 + 0.02
    assert smooth.floor == pytest.approx(-right * math.log(right) - 9 * 0.02 * math.log(0.02), rel=1e-6)
    assert smooth.verdict == "fit"
    soft = overfit(Headed(), targets=torch.full((16, 10), 0.1) + torch.eye(16, 10) * 0.0)
    assert soft.floor == pytest.approx(math.log(10), rel=1e-4)
    hard = overfit(Headed(), targets=F.one_hot(torch.arange(16) % 10, 10).float(), loss=nn.BCEWithLogitsLoss())
    assert (hard.floor, hard.verdict) == (0.0, "fit")


def test_dropout_and_stochastic_depth_are_off():
    class DropPath(nn.Module):
        def forward(self, x):
            return x * torch.bernoulli(torch.full((len(x), 1), 0.2)) if self.training else x

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.9), DropPath(), nn.Linear(64, 10))
    run = overfit(model)
    assert (run.verdict, run.limits) == ("fit", ())


def test_labels_among_the_inputs_and_a_loss_of_the_models_own():
    class SelfTaught(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Headed()

        def forward(self, x, labels=None):
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    torch.manual_seed(0)
    asked = session(
        SelfTaught(), {"x": torch.randn(16, 32), "labels": torch.arange(16) % 10}, plan=Plan(probes=("overfit",))
    )
    run = asked.evidence("OverfitRun")
    assert (run.verdict, run.samples) == ("fit", 8)
    torch.manual_seed(0)
    adapter = session(
        Headed(),
        torch.randn(16, 32),
        own_loss=lambda model, x, _targets: model(x).square().mean(),
        plan=Plan(probes=("overfit",)),
    )
    assert adapter.evidence("OverfitRun").verdict == "fit"


def test_the_budget_ends_it_cleanly():
    run = Plan(probes=("overfit",), deadline=0.0)
    with pytest.raises(Skip, match="budget"):
        overfit(Headed(), plan=run)


def test_it_is_asked_for_or_not_run():
    with pytest.raises(Skip, match="needs --deep or --probe overfit"):
        overfit(Headed(), plan=Plan())
