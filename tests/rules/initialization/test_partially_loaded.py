"""INI013: what a checkpoint left out, seen from the file or from the weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import nnlint
from nnlint.finding import Level

FIXTURE = Path(__file__).resolve().parents[3] / "fixtures" / "initialization" / "partially_loaded"


@pytest.fixture(scope="module")
def pretrained():
    """State dict, data and architecture of the fixture's network."""
    sys.path.insert(0, str(FIXTURE))
    try:
        import _pretrained
    finally:
        sys.path.remove(str(FIXTURE))
    return _pretrained.checkpoint(), _pretrained.points(), _pretrained.network


def found(model, data, **settings):
    inputs, targets = data
    setup = {"model": model, "inputs": inputs[:64], "targets": targets[:64], "loss": nn.CrossEntropyLoss()}
    return nnlint.check(setup, select=("INI013",), **settings).findings


def places(findings):
    return [(item.code, item.level, item.module) for item in findings]


def from_file(state, model, data, tmp_path):
    torch.save(state, tmp_path / "weights.pt")
    return found(model, data, weights=str(tmp_path / "weights.pt"))


# -------------------------------------------------------------------- the file is known


def test_a_complete_checkpoint(pretrained, tmp_path):
    state, data, network = pretrained
    assert from_file(state, network(), data, tmp_path) == []


def test_missing_layers(pretrained, tmp_path):
    state, data, network = pretrained
    kept = {name: value for name, value in state.items() if not name.startswith(("0.", "4."))}
    findings = from_file(kept, network(), data, tmp_path)
    assert places(findings) == [("INI013", Level.WARNING, "0")]
    assert "4 tensors of the model are not in it (0.weight, 0.bias, 4.weight and 1 more)" in findings[0].message
    assert findings[0].evidence["loaded"] == 4
    assert findings[0].modules == ["4"]


def test_another_shape(pretrained, tmp_path):
    state, data, network = pretrained
    state = {**state, "2.weight": torch.ones(64, 32)}
    findings = from_file(state, network(), data, tmp_path)
    assert places(findings) == [("INI013", Level.WARNING, "2")]
    assert "2.weight: 64x32, the model has 64x64" in findings[0].message


def test_tensors_without_a_place_are_a_note(pretrained, tmp_path):
    state, data, network = pretrained
    findings = from_file({**state, "momentum_queue": torch.ones(3)}, network(), data, tmp_path)
    assert places(findings) == [("INI013", Level.INFO, "")]


class WithHead(nn.Module):
    def __init__(self, body, classes=5, name="head"):
        super().__init__()
        self.body = body
        setattr(self, name, nn.Linear(64, classes))
        self.name = name

    def forward(self, x):
        return getattr(self, self.name)(self.body(x))


@pytest.mark.parametrize("name", ["head", "classifier", "fc", "lm_head"])
@pytest.mark.parametrize("old_head", [None, 5, 9], ids=["no head", "same head", "another head"])
def test_a_new_head_named_so(pretrained, tmp_path, name, old_head):
    state, data, network = pretrained
    body = {f"body.{key}": value for key, value in state.items() if not key.startswith("6.")}
    head = (
        {} if old_head is None else {f"{name}.weight": torch.randn(old_head, 64), f"{name}.bias": torch.zeros(old_head)}
    )
    assert from_file({**body, **head}, WithHead(network()[:6], name=name), data, tmp_path) == []


# -------------------------------------------------------------------- only the weights are known


def test_fresh_weights_are_no_checkpoint(pretrained):
    _, data, network = pretrained
    assert found(network(), data) == []


def test_a_random_layer_between_trained_ones(pretrained):
    state, data, network = pretrained
    model = network()
    model.load_state_dict({name: value for name, value in state.items() if not name.startswith("2.")}, strict=False)
    findings = found(model, data)
    assert places(findings) == [("INI013", Level.WARNING, "2")]
    assert "still looks freshly initialized (torch default)" in findings[0].message
    assert findings[0].confidence == "medium"


def test_a_random_layer_whose_init_is_not_torchs(pretrained):
    state, data, network = pretrained
    model = network()
    model.load_state_dict(state)
    nn.init.kaiming_normal_(model[2].weight)
    assert places(found(model, data)) == [("INI013", Level.WARNING, "2")]


def test_a_trained_matrix_that_looks_drawn_is_told_by_its_bias(pretrained):
    """It counts as trained, and is not named beside a layer that is fresh with its bias."""
    state, data, network = pretrained
    model = network()
    model.load_state_dict(state)
    nn.init.kaiming_normal_(model[4].weight)  # its bias is as it was trained
    model[2].reset_parameters()
    (finding,) = found(model, data)
    assert finding.evidence["fresh"] == ["2.weight"]


def test_a_new_head_on_trained_layers(pretrained):
    state, data, network = pretrained
    body = network()
    body.load_state_dict(state)
    assert found(WithHead(body[:6]), data) == []


def test_new_layers_behind_trained_ones(pretrained):
    """A new decoder: nothing trained works on its outputs."""
    state, data, network = pretrained
    body = network()
    body.load_state_dict(state)
    decoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    assert found(nn.Sequential(body[:6], decoder), data) == []


def test_a_new_input_layer(pretrained):
    state, data, network = pretrained
    model = network()
    model.load_state_dict(state)
    model[0] = nn.Linear(20, 64)
    assert found(model, data) == []


class LowRank(nn.Module):
    """LoRA: the trained layer, and beside it a random and a zero matrix."""

    def __init__(self, layer, rank=16):
        super().__init__()
        self.layer = layer.requires_grad_(requires_grad=False)
        self.lora_a = nn.Linear(layer.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.lora_b.weight)

    def forward(self, x):
        return self.layer(x) + self.lora_b(self.lora_a(x))


def test_adapters_in_a_trained_model(pretrained):
    state, data, network = pretrained
    model = network()
    model.load_state_dict(state)
    model[2] = LowRank(model[2])
    assert found(model, data) == []


# -------------------------------------------------------------------- a state dict that the build function loads


class Parts(nn.Module):
    """A body and a head; `within` is what the body is called."""

    def __init__(self, within="body"):
        super().__init__()
        self.within = within
        setattr(self, within, nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()))
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        return self.head(getattr(self, self.within)(x))


def _prefixed(model):
    model.load_state_dict({f"module.{name}": value for name, value in Parts().state_dict().items()}, strict=False)


def _prefixed_in_part(model):
    state = Parts().state_dict()
    model.load_state_dict({name.replace("body.2", "net.body.2"): value for name, value in state.items()}, strict=False)


def _of_the_body(model):
    model.load_state_dict(Parts().body.state_dict(), strict=False)


def _another_name(model):
    model.load_state_dict(Parts("encoder").state_dict(), strict=False)


def _loaded_again(model):
    _prefixed(model)
    model.load_state_dict(Parts().state_dict())


def _drawn_again(model):
    _prefixed_in_part(model)
    nn.init.normal_(model.body[2].weight, std=0.2)
    nn.init.zeros_(model.body[2].bias)


def _without_the_head(model):
    state = {name: value for name, value in Parts().state_dict().items() if not name.startswith("head")}
    model.load_state_dict({**state, "projector.0.weight": torch.zeros(8, 32)}, strict=False)


@pytest.mark.parametrize(
    ("load", "fires"),
    [
        (_prefixed, True),
        (_prefixed_in_part, True),
        (_of_the_body, True),
        (_another_name, True),
        (_loaded_again, False),
        (_drawn_again, False),
        (_without_the_head, False),
    ],
)
def test_names_that_do_not_fit(load, fires):
    def build():
        model = Parts()
        load(model)
        return {"model": model, "inputs": torch.randn(12, 6), "targets": torch.arange(12) % 3, "loss": nn.CrossEntropyLoss()}

    findings = nnlint.check(build, select=("INI013",)).findings
    assert [item.level for item in findings] == ([Level.WARNING] if fires else [])
    assert all("test_partially_loaded" in item.message for item in findings)
