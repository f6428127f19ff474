"""INI001, INI003, INI004: the scale of fresh weights counts where the signal shows it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, checked, features, findings, images, labels, places


def deep(
    depth: int, *, width: int = 64, activation: type[nn.Module] = nn.ReLU, norm: bool = False, init=None
) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for index in range(depth):
        layers.append(nn.Linear(20 if index == 0 else width, width))
        if init is not None:
            init(layers[-1].weight)
            nn.init.zeros_(layers[-1].bias)
        layers += [nn.LayerNorm(width)] if norm else []
        layers.append(activation())
    return nn.Sequential(*layers, nn.Linear(width, 5))


def he(weight):
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def xavier(weight):
    nn.init.xavier_normal_(weight)


def tanh(weight):
    nn.init.xavier_normal_(weight, gain=5 / 3)


def normal(std):
    return lambda weight: nn.init.normal_(weight, std=std)


class Residual(nn.Module):
    """Thirty layers with shortcuts, and a norm at the end."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm, self.head = nn.Linear(20, 64), nn.LayerNorm(64), nn.Linear(64, 5)
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(30))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = x + F.relu(layer(x))
        return self.head(self.norm(x))


def unusual_part_of_a_normalized_net() -> nn.Module:
    return nn.Sequential(deep(3, init=normal(0.01)), nn.LayerNorm(5), nn.Linear(5, 5))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (deep(20), ("warning", "0")),
        (deep(50, init=xavier), ("warning", "0")),
        (deep(30, init=normal(0.02)), ("warning", "0")),
        (deep(10, init=normal(0.5)), ("warning", "0")),
        (deep(3, init=normal(0.5)), ("info", "2")),
    ],
    ids=["default at depth 20", "xavier and relu", "small", "large", "large but shallow"],
)
def test_gain_mismatch(model, expected) -> None:
    assert places(findings("INI001", model, features(), labels())) == [expected]


@pytest.mark.parametrize(
    "model",
    [
        deep(4),
        deep(7),
        deep(20, norm=True),
        unusual_part_of_a_normalized_net(),
        deep(20, init=he),
        deep(20, init=tanh, activation=nn.Tanh),
        deep(8, init=xavier, activation=nn.Tanh),
        deep(6, activation=nn.Sigmoid),
        deep(20, activation=nn.SELU),
        Residual(),
        nn.Sequential(nn.Linear(20, 5)),
    ],
    ids=[
        "shallow default",
        "default of depth 7",
        "normalized",
        "normalized later",
        "he",
        "tanh gain",
        "xavier and tanh",
        "sigmoid chain",
        "selu",
        "residual",
        "one layer",
    ],
)
def test_healthy_gain_is_silent(model) -> None:
    assert findings("INI001", model, features(), labels()) == []


def test_zero_output_layer_is_no_decay() -> None:
    model = deep(3)
    nn.init.zeros_(model[-1].weight)
    assert findings("INI001", model, features(), labels()) == []


def test_oversized() -> None:
    model = deep(2, width=512)
    nn.init.normal_(model[2].weight)
    assert places(findings("INI003", model, features(), labels())) == [("error", "2")]


def test_oversized_by_their_mean() -> None:
    model = deep(2, width=512)
    nn.init.uniform_(model[2].weight, 0.0, 0.2)
    # Weights of one sign: 0.1 x 512 inputs, 36 times the He gain although the deviation is small.
    report = checked("INI003", model, features(), labels())
    assert places(report.findings) == [("error", "2")]


def one_hot() -> torch.Tensor:
    return F.one_hot(torch.arange(64) % 512, 512).float()


def scaled_at_run_time() -> nn.Module:
    class Equalized(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(512, 512))

        def forward(self, x):
            return F.linear(x, self.weight * 512**-0.5)

    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 512), nn.ReLU(), Equalized(), nn.ReLU(), nn.Linear(512, 5))


def large_before_norm() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 512), nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 5))
    nn.init.normal_(model[1].weight)
    return model


def one_hot_net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5))
    nn.init.normal_(model[0].weight)
    return model


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (deep(4), features()),
        (deep(4, init=he), features()),
        (one_hot_net(), one_hot()),
        (scaled_at_run_time(), features()),
        (large_before_norm(), features()),
        (nn.Sequential(nn.Embedding(50, 64), nn.Flatten(), nn.Linear(384, 5)), torch.randint(0, 50, (64, 6))),
    ],
    ids=["default", "he", "one-hot inputs", "scaled at run time", "before a norm", "embedding"],
)
def test_not_oversized(model, inputs) -> None:
    assert findings("INI003", model, inputs, labels()) == []


def test_undersized() -> None:
    reported = findings("INI004", deep(3, init=normal(0.001)), features(), labels())
    assert places(reported) == [("warning", "0")]
    assert reported[0].evidence["signal"] < 1e-3


def transformer_block() -> nn.Module:
    torch.manual_seed(0)
    model = Net(
        lambda m, x: m.head(m.stem(x) + m.b(F.gelu(m.a(m.norm(m.stem(x)))))),
        stem=nn.Linear(20, 16),
        norm=nn.LayerNorm(16),
        a=nn.Linear(16, 64),
        b=nn.Linear(64, 16),
        head=nn.Linear(16, 5),
    )
    for layer in (model.a, model.b):
        nn.init.normal_(layer.weight, std=0.001)
    return model


def small_head() -> nn.Module:
    model = deep(3)
    nn.init.normal_(model[-1].weight, std=0.001)
    return model


def small_before_norm() -> nn.Module:
    return deep(3, norm=True, init=normal(0.001))


@pytest.mark.parametrize(
    "model",
    [deep(3), small_head(), transformer_block(), small_before_norm()],
    ids=["default", "head", "branch", "norm"],
)
def test_not_undersized(model) -> None:
    assert findings("INI004", model, features(), labels()) == []


@pytest.mark.parametrize(
    "code", ["INI001", "INI003", "INI004", "INI002", "INI006", "INI007", "INI009", "INI010", "INI012"]
)
def test_trained_weights_are_not_judged(code) -> None:
    torch.manual_seed(0)
    model, inputs, targets = deep(3), features(), labels()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    report = checked(code, model, inputs, targets)
    assert report.findings == []
    assert "trained" in report.skipped[0].reason


def test_convolutions_count_their_fan_with_the_kernel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 5)
    )
    assert findings("INI003", model, images(8), labels(8)) == []
    nn.init.normal_(model[2].weight)
    assert places(findings("INI003", model, images(8), labels(8))) == [("error", "2")]
