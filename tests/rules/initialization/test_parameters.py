"""INI005, INI006, INI007, INI010, INI012: what the parameters alone show."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nnlint.testing import NO_INPUTS, Net, checked, features, findings, labels, places

NAN, INF = float("nan"), float("inf")


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)
    )


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ["0.weight", "5.bias", "1.running_var"])
def test_non_finite(name, value) -> None:
    model = mlp()
    dict(model.named_parameters() if "running" not in name else model.named_buffers())[name].data[0] = value
    report = checked("INI005", model, features(), labels())
    assert places(report.findings) == [("error", name.partition(".")[0])]


def test_infinite_mask_is_silent() -> None:
    model = Net(lambda m, x: m.fc(x), fc=nn.Linear(20, 5))
    model.register_buffer("mask", torch.full((4, 4), -INF).triu(1))
    assert findings("INI005", model, features()) == []
    model.mask[0, 0] = NAN
    assert places(findings("INI005", model, features())) == [("error", "")]


def test_non_finite_needs_no_inputs_and_no_fresh_weights() -> None:
    model = mlp()
    model[3].weight.data.fill_(NAN)
    assert places(checked("INI005", model, NO_INPUTS).findings) == [("error", "3")]


def repeated(model: nn.Module, *, layer: int, rows: int) -> nn.Module:
    weight = model[layer].weight.data
    weight.copy_(weight[:rows].repeat(weight.shape[0] // rows, *[1] * (weight.dim() - 1)))
    return model


def test_duplicate_units() -> None:
    reported = findings("INI006", repeated(mlp(), layer=3, rows=8), features())
    assert places(reported) == [("warning", "3")]
    assert reported[0].evidence["copies"] == 24


def depthwise() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 3))
    return repeated(model, layer=1, rows=1)


def zero_rows() -> nn.Module:
    model = mlp()
    model[3].weight.data[:4] = 0.0
    return model


def narrow() -> nn.Module:
    torch.manual_seed(0)
    return repeated(nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 5)), layer=0, rows=16)


def quantised() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64))
    for layer in model[::2]:
        layer.weight.data = layer.weight.data.sign() * 0.1
    return repeated(model, layer=2, rows=64)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (mlp(), features()),
        (zero_rows(), features()),
        (narrow(), features(width=1)),
        (depthwise(), torch.randn(4, 3, 12, 12)),
        (nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Flatten(), nn.Linear(8, 5)), torch.randint(0, 9, (8, 2))),
    ],
    ids=["random", "zero rows", "one number a row", "depthwise", "embedding"],
)
def test_no_duplicates(model, inputs) -> None:
    assert checked("INI006", model, inputs).findings == []


def test_quantised_weights_are_not_judged() -> None:
    report = checked("INI006", quantised(), features(width=64))
    assert report.findings == []
    assert "trained" in report.skipped[0].reason


def test_cloned_layers() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    reported = findings("INI007", model, torch.randn(4, 6, 16))
    assert [level for level, _ in places(reported)] == ["info"]
    assert reported[0].evidence["sets"] == 4


def tied() -> nn.Module:
    embedding, head = nn.Embedding(50, 16), nn.Linear(16, 50, bias=False)
    head.weight = embedding.weight
    return nn.Sequential(embedding, nn.Linear(16, 16), head)


def zeros() -> nn.Module:
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20), nn.Linear(20, 20))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[2].weight)
    return model


@pytest.mark.parametrize(
    ("model", "inputs"),
    [(mlp(), features()), (tied(), torch.randint(0, 50, (4, 6))), (zeros(), features())],
    ids=["random", "tied", "constant"],
)
def test_not_cloned(model, inputs) -> None:
    assert findings("INI007", model, inputs) == []


def test_deep_copies_are_clones() -> None:
    first = nn.Linear(20, 20)
    model = nn.Sequential(first, nn.ReLU(), copy.deepcopy(first))
    assert places(findings("INI007", model, features())) == [("info", "2")]


def rnn(kind: type[nn.RNNBase], init=None) -> nn.Module:
    torch.manual_seed(0)
    model = Net(lambda m, x: m.rnn(x)[0], rnn=kind(8, 32, batch_first=True))
    if init is not None:
        for gate in model.rnn.weight_hh_l0.chunk(model.rnn.weight_hh_l0.shape[0] // 32):
            init(gate)
    return model


STEPS = torch.randn(4, 6, 8)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (rnn(nn.LSTM, nn.init.normal_), [("warning", "rnn")]),
        (rnn(nn.GRU, nn.init.normal_), [("warning", "rnn")]),
        (rnn(nn.RNN, nn.init.normal_), [("warning", "rnn")]),
        (rnn(nn.RNN, lambda w: nn.init.normal_(w, std=0.005)), [("warning", "rnn")]),
        (rnn(nn.LSTM, lambda w: nn.init.normal_(w, std=0.005)), []),
        (rnn(nn.LSTM), []),
        (rnn(nn.GRU), []),
        (rnn(nn.RNN), []),
        (rnn(nn.LSTM, nn.init.orthogonal_), []),
        (rnn(nn.RNN, nn.init.eye_), []),
        (mlp(), []),
    ],
)
def test_recurrent_scale(model, expected) -> None:
    inputs = features() if isinstance(model, nn.Sequential) else STEPS
    assert places(findings("INI010", model, inputs)) == expected


def embedding(*, index: int | None, init=None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50, 16, padding_idx=index), nn.Linear(16, 5))
    if init is not None:
        init(model[0].weight)
    return model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (embedding(index=0, init=nn.init.normal_), [("info", "0")]),
        (embedding(index=-1, init=nn.init.xavier_uniform_), [("info", "0")]),
        (embedding(index=0), []),
        (embedding(index=None, init=nn.init.normal_), []),
    ],
)
def test_padding_row(model, expected) -> None:
    assert places(findings("INI012", model, torch.randint(0, 50, (4, 6)))) == expected
