"""The learning-rate range test: reading a curve, and the interval on real nets."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Skip
from nnlint.probes.longer.lr_curve import debiased, read_curve
from nnlint.probes.longer.lr_range import has_diverged, sweep_rates
from nnlint.probes.session import Plan
from tests.probes.sessions import session


class Article(nn.Module):
    """The article's Net."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, bias=False), nn.Conv2d(32, 64, 3, bias=False)
        self.fc1, self.fc2 = nn.Linear(9216, 128, bias=False), nn.Linear(128, 10, bias=False)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.conv2(torch.relu(self.conv1(x)))), 2)
        return F.log_softmax(self.fc2(torch.relu(self.fc1(x.flatten(1)))), dim=1)


def article(seed):
    """Ten smooth prototypes, and images that differ from them as much as digits do."""
    torch.manual_seed(seed)
    targets = torch.arange(64) % 10
    coarse = torch.randn(10, 1, 7, 7)[targets] + 0.5 * torch.randn(64, 1, 7, 7)
    images = F.interpolate(coarse, size=28, mode="bilinear")
    return Article(), images / images.std(), {"targets": targets, "loss": nn.NLLLoss()}


def measured(model, inputs, optimizer=None, **fields):
    asked = session(model, inputs, optimizer=optimizer, plan=Plan(probes=("lr-range",)), **fields)
    return asked.evidence("LearningRateRange")


@pytest.mark.parametrize("seed", [0, 1])
def test_the_articles_net_with_adam(seed):
    model, images, fields = article(seed)
    found = measured(model, images, torch.optim.Adam(model.parameters(), lr=1e-3), **fields)
    low, high = found.interval
    assert low < 1e-3 < high < 3e-2
    assert low < found.suggestion < high
    assert found.position == "inside"
    # The minimum of the curve, which the article takes: tried, and it breaks the net.
    assert found.minimum > high
    assert found.minimum_diverged


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))


def batch():
    torch.manual_seed(1)
    return torch.randn(64, 20), {"targets": torch.arange(64) % 5, "loss": nn.CrossEntropyLoss()}


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: torch.optim.SGD(parameters, lr=0.05),
        lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
        lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        lambda parameters: torch.optim.RMSprop(parameters, lr=1e-3),
    ],
)
def test_training_inside_the_interval_works_and_beyond_divergence_does_not(make):
    inputs, fields = batch()
    model = mlp()
    found = measured(model, inputs, make(model.parameters()), **fields)

    def reached(rate):
        trained = mlp()
        optimizer = make(trained.parameters())
        optimizer.param_groups[0]["lr"] = rate
        losses = []
        for _ in range(30):
            optimizer.zero_grad()
            losses.append(fields["loss"](trained(inputs), fields["targets"]))
            losses[-1].backward()
            optimizer.step()
        return max(map(float, map(torch.Tensor.detach, losses)))

    first = found.losses[0]
    assert reached(found.suggestion) < 1.2 * first
    assert not reached(10 * found.diverges) < 2 * first


def test_groups_keep_their_ratio_and_the_user_keeps_the_optimizer(tmp_path):
    model = mlp()
    optimizer = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.0}, {"params": model[2].parameters()}], lr=0.02, momentum=0.9
    )
    log = tmp_path / "rates.jsonl"  # a check puts variables back, and leaves files alone

    def note(done, *_):
        with log.open("a") as file:
            file.write(json.dumps([group["lr"] for group in done.param_groups]) + "\n")

    optimizer.register_step_post_hook(note)
    inputs, fields = batch()
    found = measured(model, inputs, optimizer, **fields)
    seen = [json.loads(line) for line in log.read_text().splitlines()]
    assert found.configured == 0.02
    assert all(first == 0.0 for first, _ in seen)
    assert {second for _, second in seen} >= set(found.rates[:-1])
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.02]


def test_without_an_optimizer_adamw_stands_in():
    inputs, fields = batch()
    found = measured(mlp(), inputs, **fields)
    assert (found.configured, found.optimizer, found.position) == (None, "AdamW", "unknown")
    assert found.interval is not None


def test_a_rate_of_zero_cannot_be_scaled():
    model = mlp()
    inputs, fields = batch()
    with pytest.raises(Skip, match="no learning rate above zero"):
        measured(model, inputs, torch.optim.SGD(model.parameters(), lr=0.0), **fields)


def test_a_net_that_cannot_learn_has_no_interval():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 5), nn.Threshold(100.0, 0.0))
    inputs, fields = batch()
    found = measured(model, inputs, torch.optim.SGD(model.parameters(), lr=0.1), **fields)
    assert (found.interval, found.suggestion, found.starts) == (None, None, None)


# --------------------------------------------------------------- reading curves


def curve(noise=0.0, count=90):
    """Flat at 2.3 to 1e-4, down to 0.3 at 1e-2, up from there."""
    generator = torch.Generator().manual_seed(0)
    rates = sweep_rates(count, highest=1.0)
    losses = []
    for rate in rates:
        place = math.log10(rate)
        fall = min(max((place + 4) / 2, 0.0), 1.0)
        loss = 2.3 - 2.0 * fall + max(place + 1.5, 0.0) * 4.0
        losses.append(loss * (1 + noise * float(torch.randn((), generator=generator))))
    return rates, losses


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
def test_a_curve_is_read_in_spite_of_noise(noise):
    found = read_curve(*curve(noise))
    assert 5e-5 < found.starts < 1e-3
    assert 2e-4 < found.steepest < 2e-2
    assert 5e-3 < found.minimum < 8e-2


def test_a_single_dip_is_no_start():
    rates, losses = curve()
    losses[5] = 0.5
    assert read_curve(rates, losses).starts > 5e-5


def test_a_flat_or_rising_curve_has_no_start():
    rates = sweep_rates(40, highest=1.0)
    for losses in ([2.3] * 40, [2.3 + 0.1 * index for index in range(40)], [2.3] * 3 + [math.nan]):
        assert read_curve(rates[: len(losses)], losses).starts is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40))
def test_debiased_means_stay_in_range(values):
    smooth = debiased(values)
    assert len(smooth) == len(values)
    assert smooth[0] == pytest.approx(values[0])
    for index, value in enumerate(smooth):
        seen = values[: index + 1]
        assert min(seen) - 1e-9 <= value <= max(seen) + 1e-9


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([2.3, 2.0, 1.5, 1.0], False),
        ([2.3, 2.6, 2.0, 1.5], False),
        ([2.3, math.nan], True),
        ([2.3, 90.0], True),
        ([2.3, 1.0, 0.1, 0.2, 1.5, 1.9], True),
        ([2.3, 3.9, 2.4, 2.35, 2.3], True),
        ([0.01, 0.05, 0.02, 0.01], False),  # a trained net: chance is 2.3, and this is noise
    ],
)
def test_what_diverges(losses, diverged):
    assert has_diverged(losses, chance=2.3) is diverged


def test_rates_are_geometric_and_end_where_they_should():
    for count, highest in ((30, 1.0), (100, 10.0), (300, 1.0)):
        rates = sweep_rates(count, highest=highest)
        factors = [after / before for before, after in zip(rates, rates[1:], strict=False)]
        assert rates[-1] == pytest.approx(highest)
        assert max(factors) == pytest.approx(min(factors))
        assert rates[0] >= 1e-7 * (1 - 1e-9)


class Bounded(nn.Module):
    """Raises where a high rate has carried its weights away, and never before."""

    def __init__(self, check):
        super().__init__()
        self.body, self.head, self.check = nn.Linear(16, 32), nn.Linear(32, 1), check

    def forward(self, x):
        return self.check(self.head(torch.tanh(self.body(x))))


def asserts_its_range(x):
    assert x.abs().max() < 50, "prediction out of range"
    return x


def needs_a_distribution(x):
    return torch.distributions.Normal(x * 0, (x * 20).exp()).scale.log() / 20


@pytest.mark.parametrize("check", [asserts_its_range, needs_a_distribution])
def test_what_raises_at_a_rate_that_training_does_not_use_is_divergence(check):
    torch.manual_seed(0)
    model, x = Bounded(check), torch.randn(32, 16)
    found = measured(model, x, torch.optim.SGD(model.parameters(), lr=1e-2), targets=x[:, :1] * 2, loss=nn.MSELoss())
    assert found.diverges is not None
    assert found.diverges > 1e-2


def test_the_bce_of_a_nan_at_a_high_rate_is_divergence():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid()), torch.randn(32, 16)

    def loss(output, target):
        broken = output * math.nan if output.detach().max() > 1 - 1e-4 else output
        return F.binary_cross_entropy(broken, target)

    targets = (x[:, :1] > 0).float()
    found = measured(model, x, torch.optim.Adam(model.parameters(), lr=1e-3), targets=targets, loss=loss)
    assert not all(math.isfinite(value) for value in found.losses)


class Counted(nn.Module):
    """Raises at a count of calls, which the state guard sets back before each run."""

    def __init__(self, at):
        super().__init__()
        self.layer, self.at, self.calls = nn.Linear(16, 1), at, 0

    def forward(self, x):
        self.calls += 1
        assert self.calls < self.at, "called too often"
        return self.layer(x)


@pytest.mark.parametrize("at", [2, 9])
def test_what_raises_at_a_rate_of_training_is_a_failed_probe(at):
    """The sweep begins with the lowest rates: the count ends it there."""
    torch.manual_seed(0)
    model, x = Counted(at), torch.randn(32, 16)
    optimizer, plan = torch.optim.SGD(model.parameters(), lr=1e-2), Plan(probes=("lr-range",))
    asked = session(model, x, optimizer=optimizer, plan=plan, targets=x[:, :1], loss=nn.MSELoss())
    with pytest.raises(Skip, match="called too often.*RUN008"):
        asked.evidence("LearningRateRange")
    assert [failure.code for failure in asked.failures] == ["RUN008"]
