"""`--weights`: what can be read, what is refused, and what is said of a checkpoint that does not fit."""

from __future__ import annotations

import argparse
import pickle
import warnings

import pytest
import torch
from torch import nn

import nnlint
from nnlint.setup import SetupError, SetupOptions, coerce
from tests.libraries import library


def network(classes=5):
    return nn.Sequential(
        nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes)
    )


def saved():
    """A state dict whose every tensor can be told from any initialization."""
    torch.manual_seed(1)
    return {name: tensor + 1 for name, tensor in network().state_dict().items()}


def loaded(tmp_path, content, model=None, name="weights.pt"):
    torch.save(content, tmp_path / name)
    return loaded_file(tmp_path, name, model)


def loaded_file(tmp_path, name, model=None):
    return coerce(model or network(), SetupOptions(weights=name, directory=tmp_path, inputs=("20",)))


def error_of(tmp_path, content, model=None):
    with pytest.raises(SetupError) as caught:
        loaded(tmp_path, content, model)
    assert caught.value.code == "RUN001"
    return caught.value.message


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "optimizer_states": [{"state": {}}]},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {}, "loss": 0.1},
        lambda state: {"model": state, "args": {"lr": 0.1}},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"net.{name}": tensor for name, tensor in state.items()}},
    ],
    ids=["plain", "Lightning", "tutorial", "timm", "DataParallel", "compiled DataParallel", "wrapped in a module"],
)
def test_checkpoints_in_their_usual_forms(wrap, tmp_path):
    state = saved()
    setup = loaded(tmp_path, wrap(state))
    found = setup.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert set(setup.weights.loaded) == set(state)
    assert setup.weights.missing == setup.weights.unexpected == ()
    assert setup.weights.mismatched == {}


def test_safetensors(tmp_path):
    safetensors = library("safetensors.torch")
    safetensors.save_file(saved(), str(tmp_path / "weights.safetensors"))
    setup = loaded_file(tmp_path, "weights.safetensors")
    assert torch.equal(setup.model[0].weight, saved()["0.weight"])


def test_a_broken_safetensors_file(tmp_path):
    library("safetensors")
    (tmp_path / "weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(SetupError, match="cannot be read as weights"):
        loaded_file(tmp_path, "weights.safetensors")


def test_a_checkpoint_written_by_a_trainer(tmp_path):
    lightning = library("lightning")

    class Lit(lightning.LightningModule):
        def __init__(self, width=20):
            super().__init__()
            self.save_hyperparameters()
            self.net = network()

        def training_step(self, batch, batch_idx):
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    module = Lit()
    data = torch.utils.data.DataLoader([(torch.randn(20),) for _ in range(4)], batch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's remarks about so small a training
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = lightning.Trainer(max_steps=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
        trainer.fit(module, data)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    inner = loaded_file(tmp_path, "last.ckpt")
    assert torch.equal(inner.model[0].weight, module.net[0].weight)
    outer = loaded_file(tmp_path, "last.ckpt", Lit())
    assert torch.equal(outer.model.net[0].weight, module.net[0].weight)
    assert outer.weights.missing == ()


class Payload:
    """Unpickling it runs code."""

    def __reduce__(self):
        return (open, ("/tmp/nnlint-was-here", "w"))


@pytest.mark.parametrize("content", [Payload(), {"state_dict": {"0.weight": Payload()}}], ids=["object", "inside"])
def test_a_pickle_that_would_run_code_is_refused(content, tmp_path):
    message = error_of(tmp_path, content)
    assert "was not loaded: it holds a pickled" in message
    assert "open" in message
    assert "weights_only=False" not in message


def test_a_whole_pickled_model_is_refused(tmp_path):
    message = error_of(tmp_path, network())
    assert "it holds a pickled torch.nn.modules.container.Sequential" in message


def test_a_checkpoint_with_python_objects_is_refused(tmp_path):
    message = error_of(tmp_path, {"model": saved(), "args": argparse.Namespace(lr=0.1)})
    assert "it holds a pickled argparse.Namespace" in message


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / "weights.pt").write_bytes(pickle.dumps({"weights": [1, 2]}))
    with pytest.raises(SetupError, match=r"holds no state dict|cannot be read as weights"):
        loaded_file(tmp_path, "weights.pt")


def test_what_is_no_checkpoint(tmp_path):
    with pytest.raises(SetupError, match="the weights file .* not found"):
        loaded_file(tmp_path, "missing.pt")
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(SetupError, match="cannot be read as weights"):
        loaded_file(tmp_path, "text.pt")
    assert "holds no state dict" in error_of(tmp_path, {"epoch": 3, "loss": 0.5})
    assert "holds no state dict" in error_of(tmp_path, [torch.ones(2)])


def test_nothing_fits(tmp_path):
    message = error_of(tmp_path, {"stem.weight": torch.ones(3, 3), "stem.bias": torch.ones(3)})
    assert "no tensor of" in message
    assert "it has stem.weight, stem.bias, ...; the model has 0.weight, 0.bias, 1.weight, ..." in message


def test_what_does_not_fit_is_listed(tmp_path):
    state = saved()
    del state["3.weight"]
    del state["1.num_batches_tracked"]
    state["extra.weight"] = torch.ones(2)
    setup = loaded(tmp_path, state, network(classes=7))
    assert setup.weights.missing == ("3.weight",)
    assert setup.weights.unexpected == ("extra.weight",)
    assert setup.weights.mismatched == {
        "5.weight": "5x64, the model has 7x64",
        "5.bias": "5, the model has 7",
    }


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.body = nn.Linear(16, 16)
        self.lm_head = nn.Linear(16, 50, bias=False)
        self.lm_head.weight = self.embedding.weight

    def forward(self, ids):
        return self.lm_head(self.body(self.embedding(ids)))


def test_a_tied_tensor_is_not_missing(tmp_path):
    state = Tied().state_dict()
    del state["lm_head.weight"]
    torch.save(state, tmp_path / "tied.pt")
    options = SetupOptions(weights="tied.pt", directory=tmp_path, inputs=("16:int<50>",))
    assert coerce(Tied(), options).weights.missing == ()


def test_a_setup_from_a_checkpoint_keeps_the_callers_model(tmp_path):
    torch.save(saved(), tmp_path / "weights.pt")
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = nnlint.check(model, weights=str(tmp_path / "weights.pt"), input=("20",))
    assert report.results[0].status == "ok"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
