"""INI002: constant weights are an error where units can never become different, and fine where they wake up by themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, checked, features, findings, images, labels, places


def mlp(**values: float) -> nn.Module:
    """Three layers; `values` are those of constant weights by layer: l0, l2, l4."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))
    for name, value in values.items():
        nn.init.constant_(model[int(name[1:])].weight, value)
    return model


def unbiased(model: nn.Module, activation: nn.Module | None = None) -> nn.Module:
    """The same with zero biases, and with another activation behind its second layer."""
    for layer in model[::2]:
        nn.init.zeros_(layer.bias)
    if activation is not None:
        model[3] = activation
    return model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (mlp(), []),
        (mlp(l0=0.1, l2=0.1), [("error", "0")]),
        (mlp(l2=0.1, l4=0.2), [("error", "2")]),
        (unbiased(mlp(l0=0.0, l2=0.0)), [("error", "0")]),
        (unbiased(mlp(l2=0.0, l4=0.0)), [("error", "2")]),
        (unbiased(mlp(l2=0.0)), [("error", "2")]),
        (unbiased(mlp(l2=0.0), nn.Tanh()), [("info", "2")]),
        (unbiased(mlp(l2=0.0, l4=0.0), nn.Tanh()), [("error", "2")]),
        (unbiased(mlp(l2=0.0, l4=0.0), nn.Sigmoid()), [("info", "2")]),
        (mlp(l2=0.0, l4=0.0), [("info", "2")]),
        (mlp(l2=0.1), [("warning", "2")]),
        (mlp(l2=0.0), [("info", "2")]),
        (mlp(l4=0.0), []),
        (mlp(l4=0.1), [("warning", "4")]),
        (mlp(l0=0.1, l4=0.0), [("warning", "0")]),
    ],
)
def test_layers(model, expected) -> None:
    assert places(findings("INI002", model, features(), labels())) == expected


def test_every_constant_layer_is_named() -> None:
    reported = findings("INI002", mlp(l0=100.0, l2=100.0, l4=100.0), features(), labels())
    assert reported[0].module == "0"
    assert set(reported[0].modules) == {"1", "2", "3", "4"}  # the activations too: symptoms show there
    assert reported[0].evidence == {"0.weight": 100.0, "2.weight": 100.0, "4.weight": 100.0}


def test_functional_layers() -> None:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.w1, self.w2 = nn.Parameter(torch.full((32, 20), 0.1)), nn.Parameter(torch.full((5, 32), 0.1))

        def forward(self, x):
            return F.linear(F.relu(F.linear(x, self.w1)), self.w2)

    assert [level for level, _ in places(findings("INI002", Net(), features(), labels()))] == ["error"]


class Residual(nn.Module):
    """A residual branch whose last layer starts at zero."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.a, self.b, self.head = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 5)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + self.b(F.relu(self.a(x))))


class LoRA(nn.Module):
    """A frozen layer with a low-rank addition that starts at zero."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.base = nn.Linear(20, 32).requires_grad_(False)
        self.a, self.b, self.head = nn.Linear(20, 4, bias=False), nn.Linear(4, 32, bias=False), nn.Linear(32, 5)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        return self.head(F.relu(self.base(x) + 2.0 * self.b(self.a(x))))


def depthwise() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 5))
    nn.init.ones_(model[1].weight)
    return model


def one_unit() -> nn.Module:
    model = nn.Sequential(nn.Linear(20, 1), nn.Linear(1, 5))
    nn.init.ones_(model[0].weight)
    return model


def frozen_filter() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(3, 3, 3, bias=False), nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 5)
    )
    nn.init.constant_(model[0].weight, 1 / 27).requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (Residual(), features()),
        (LoRA(), features()),
        (depthwise(), images()),
        (one_unit(), features()),
        (frozen_filter(), images()),
        (nn.Sequential(nn.Linear(20, 8), nn.LayerNorm(8), nn.Linear(8, 5)), features()),
        (Net(lambda m, x: m.fc(x) * m.scale.weight, fc=nn.Linear(20, 8), scale=nn.LayerNorm(8)), features()),
    ],
    ids=["zero-init branch", "LoRA", "depthwise", "one unit", "frozen filter", "norm", "scale"],
)
def test_constants_that_do_no_harm_are_silent(model, inputs) -> None:
    assert findings("INI002", model, inputs) == []


def test_zero_embedding_is_silent() -> None:
    model = nn.Sequential(nn.Embedding(30, 16), nn.Flatten(), nn.Linear(96, 5))
    nn.init.zeros_(model[0].weight)
    assert findings("INI002", model, torch.randint(0, 30, (8, 6)), labels(8)) == []


def test_first_loss_of_ln_classes_is_no_excuse() -> None:
    """The article's exploding net: all logits equal, so the loss is exactly that of a guess."""
    report = checked("INI002", mlp(l0=100.0, l2=100.0, l4=100.0), features(), labels(), loss=nn.CrossEntropyLoss())
    assert places(report.findings) == [("error", "0")]


def recurrent(value: float) -> nn.Module:
    model = Net(lambda m, x: m.head(m.rnn(x.unsqueeze(1))[0][:, -1]), rnn=nn.GRU(20, 16), head=nn.Linear(16, 5))
    nn.init.constant_(model.rnn.weight_ih_l0, value)
    return model


def attention(value: float) -> nn.Module:
    model = Net(lambda m, x: m.attention(x, x, x)[0], attention=nn.MultiheadAttention(20, 2))
    nn.init.constant_(model.attention.in_proj_weight, value)
    return model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (recurrent(0.1), [("warning", "rnn")]),
        (recurrent(0.0), []),
        (attention(0.1), [("warning", "attention")]),
        (attention(0.0), []),
    ],
)
def test_recurrent_and_attention_layers(model, expected) -> None:
    assert places(checked("INI002", model, features()).findings) == expected


def test_zero_offsets_with_a_bias_of_their_own_are_no_fault() -> None:
    """Deformable attention: zero weights, a bias that spreads the sampling points, and a zero-initialized head behind."""
    torch.manual_seed(0)
    model = Net(lambda m, x: m.head(torch.cos(m.offsets(x))), offsets=nn.Linear(20, 32), head=nn.Linear(32, 5))
    nn.init.zeros_(model.offsets.weight)
    nn.init.zeros_(model.head.weight)
    assert [level for level, _ in places(findings("INI002", model, features(), labels()))] == ["info"]


def test_zeros_everywhere_are_an_error_even_before_a_gate() -> None:
    """Each could be the end of a branch; nothing is left beside the branches."""
    torch.manual_seed(0)
    parts = {"value": nn.Linear(20, 32), "gate": nn.Linear(20, 32), "head": nn.Linear(32, 5)}
    for layer in parts.values():
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    model = Net(lambda m, x: m.head(m.value(x) * torch.tanh(m.gate(x))), **parts)
    assert [level for level, _ in places(findings("INI002", model, features(), labels()))] == ["error"]
