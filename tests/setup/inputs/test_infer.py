"""Inference of inputs: layers, hints, Hugging Face conventions, and the message when all fails."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.setup import SetupError, coerce
from nnlint.tensors import summary


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 3)

    def forward(self, x):
        return self.body(x)


class Sized(nn.Module):
    def __init__(self, size, channels=3):
        super().__init__()
        self.conv, self.out = nn.Conv2d(channels, 4, 3), nn.Linear(4 * (size - 2) ** 2, 10)

    def forward(self, x):
        return self.out(self.conv(x).flatten(1))


class Viewing(Sized):
    """A wrong size passes here by mixing samples: 20 x 4 x 4 numbers each."""

    def __init__(self):
        super().__init__(6)
        self.out = nn.Linear(4 * 16, 10)

    def forward(self, x):
        return self.out(self.conv(x).view(-1, 64))


class Recurrent(nn.Module):
    def __init__(self, kind=nn.GRU, **options):
        super().__init__()
        self.body = kind(5, 6, **options)

    def forward(self, x):
        return self.body(x)[0]


class Siamese(Net):
    def forward(self, a, b):
        return self.body(a) - self.body(b)


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.users, self.items, self.out = nn.Embedding(50, 4), nn.Embedding(3, 4), nn.Linear(8, 1)

    def forward(self, user, item):
        return self.out(torch.cat([self.users(user), self.items(item)], 1))


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.steps = nn.Conv2d(3, 3, 3, padding=1), nn.Embedding(1000, 3)

    def forward(self, x, t):
        return self.conv(x) + self.steps(t)[:, :, None, None]


class Keyword(Net):
    def forward(self, *, x):
        return self.body(x)


class Masked(Net):
    def forward(self, x, mask):
        return self.body(x).masked_fill(~mask[..., None], 0)


class Branching(Net):
    def forward(self, x):
        return self.body(x) if x.sum().item() > 0 else self.body(-x)


class OwnLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 7))

    def forward(self, x):
        return x @ self.weight.T


class EvalOnly(Net):
    def forward(self, x):
        if self.training:
            raise RuntimeError("give targets in training")
        return self.body(x)


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(5, 2)

    def forward(self, x, edge_index):
        return self.body(x).index_add(0, edge_index[0], self.body(x)[edge_index[1]])


class Positions(nn.Module):
    """Longer sequences than 8 are out of range, which only real values show."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(100, 4), nn.Embedding(8, 4)

    def forward(self, ids):
        return self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        (Net(), "8x4 float32"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "8x784 float32"),
        (Sized(32), "8x3x32x32 float32"),
        (Sized(28, 1), "8x1x28x28 float32"),
        (Sized(50), "8x3x50x50 float32"),
        (Sized(50, 1), "8x1x50x50 float32"),
        (Viewing(), "8x3x6x6 float32"),
        (nn.Sequential(nn.Conv2d(3, 8, 7, 2), nn.AdaptiveAvgPool2d(1)), "8x3x224x224 float32"),
        (nn.Sequential(nn.Conv1d(6, 4, 3), nn.Flatten(), nn.Linear(4 * 62, 2)), "8x6x64 float32"),
        (nn.Sequential(nn.Conv1d(1, 4, 10, 5)), "8x1x16000 float32"),
        (nn.Conv3d(1, 2, 3), "8x1x16x112x112 float32"),
        (nn.ConvTranspose2d(64, 3, 4), "8x64x1x1 float32"),
        (nn.Sequential(nn.Embedding(20, 4), nn.Linear(4, 20)), "8x16 int64"),
        (nn.EmbeddingBag(20, 4), "8x16 int64"),
        (Recurrent(batch_first=True), "8x16x5 float32"),
        (Recurrent(), "16x8x5 float32"),
        (Recurrent(nn.LSTM, batch_first=True), "8x16x5 float32"),
        (nn.LSTMCell(5, 6), "8x5 float32"),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), "8x16x8 float32"),
        (nn.LayerNorm((5, 7)), "8x5x7 float32"),
        (nn.BatchNorm1d(5), "8x5 float32"),
        (nn.BatchNorm2d(5), "8x5x32x32 float32"),
        (nn.BatchNorm3d(2), "8x2x16x112x112 float32"),
        (nn.GroupNorm(2, 4), "8x4x32x32 float32"),
        (nn.Bilinear(3, 5, 2), "8x3 float32, 8x5 float32"),
        (OwnLinear(), "8x7 float32"),
        (Siamese(), "8x4 float32, 8x4 float32"),
        (Towers(), "8 int64, 8 int64"),
        (Denoiser(), "8x3x32x32 float32, 8 int64"),
        (Keyword(), "x=8x4 float32"),
        (Masked(), "8x16x4 float32, 8x16 bool"),
        (Branching(), "8x4 float32"),
        (EvalOnly(), "8x4 float32"),
        (Graph(), "8x5 float32, 2x32 int64"),
        (Positions(), "8x8 int64"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_inferred_inputs(model, shapes):
    setup = coerce(model)
    assert summary(setup.inputs) == shapes
    assert setup.inputs_assumed
    assert f"inputs are made up ({shapes})" in setup.assumptions[0]
    setup.model.eval()
    setup.call_model()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_models_get_inputs_too():
    setup = coerce(torch.jit.trace(Net(), torch.ones(2, 4)))
    assert summary(setup.inputs) == "8x4 float32"


def test_inference_leaves_no_trace(caplog, capsys):
    class Remembering(Sized):
        calls = 0

        def forward(self, x):
            sys.stdout.write("called")
            self.calls += 1
            self.last = x
            torch.rand(1)
            return super().forward(x)

    seen = []
    model = Remembering(50)
    model.norm = nn.BatchNorm2d(3)
    model.conv.register_forward_hook(lambda *call: seen.append(call))
    model.out.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, keys = torch.get_rng_state(), set(vars(model))
    with caplog.at_level(logging.DEBUG):
        coerce(model)
    assert seen == []
    assert set(vars(model)) == keys
    assert [m.training for m in model.modules()] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert caplog.records == []
    assert logging.root.manager.disable == 0
    assert capsys.readouterr() == ("", "")


def test_models_on_the_meta_device_need_no_memory():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 10**6), nn.Linear(10**6, 10**6))
    assert summary(coerce(model).inputs) == "8x4 float32"


class Hinted(Net):
    pass


@pytest.mark.parametrize(
    ("name", "value", "shapes", "origin"),
    [
        ("example_input_array", torch.zeros(2, 5, 4), "2x5x4 float32", "example_input_array"),
        ("dummy_inputs", {"x": torch.zeros(3, 4)}, "x=3x4 float32", "dummy_inputs"),
        ("pretrained_cfg", {"input_size": (7, 4)}, "8x7x4 float32", "input_size of the model's pretrained_cfg"),
        ("default_cfg", SimpleNamespace(input_size=(7, 4)), "8x7x4 float32", "default_cfg"),
        ("pretrained_cfg", {"input_size": None}, "8x4 float32", "noise that fits body (Linear)"),
        ("example_input_array", torch.zeros(2, 5), "8x4 float32", "noise that fits body (Linear)"),
        ("example_input_array", property(lambda self: 1 / 0), "8x4 float32", "noise that fits"),
    ],
)
def test_hints_of_the_model(name, value, shapes, origin, monkeypatch):
    monkeypatch.setattr(Hinted, name, value, raising=False)
    setup = coerce(Hinted())
    assert summary(setup.inputs) == shapes
    assert origin in setup.assumptions[0]
    assert setup.inputs is not value


def test_the_image_size_a_model_knows():
    model = Sized(50)
    model.image_size = 50
    assert "the image size the model was built with" in coerce(model).assumptions[0]


class Refusing(Net):
    def forward(self, x, y):
        raise ValueError("only graphs here")


class Uncopyable(Net):
    def __deepcopy__(self, memo):
        raise TypeError("no copies")


def test_no_input_can_be_inferred():
    with pytest.raises(SetupError) as caught:
        coerce(Refusing())
    error = caught.value
    assert error.code == "RUN005"
    assert "no example input for forward(x, y) could be inferred: tried 8x4 float32, 8x4 float32;" in error.message
    assert "the first failed with ValueError: only graphs here" in error.message
    assert "--input 3x32x32" in error.message
    assert isinstance(error.setup.model, Refusing)
    with pytest.raises(SetupError, match="no layer to infer one from"):
        coerce(nn.ReLU())
    with pytest.raises(SetupError, match="ModuleList defines no forward"):
        coerce(nn.ModuleList())


def test_an_uncopyable_model_gets_the_likeliest_input_untried():
    assert coerce(Uncopyable()).assumptions[0].endswith("; could not be tried out")


class Config:
    vocab_size, num_labels, pad_token_id, eos_token_id, image_size, num_channels = 50, 3, 0, 2, 12, 3

    def to_dict(self):
        return {}


class Text(nn.Module):
    main_input_name = "input_ids"

    def __init__(self, causal=False):
        super().__init__()
        self.config, self.is_causal = Config(), causal
        self.tokens, self.out = nn.Embedding(50, 4), nn.Linear(4, 50)

    def forward(self, input_ids=None, attention_mask=None, labels=None):
        logits = self.out(self.tokens(input_ids))
        return SimpleNamespace(logits=logits, loss=F.cross_entropy(logits.flatten(0, 1), labels.flatten()))


class TinyForCausalLM(Text):
    def can_generate(self):
        return True

    def get_output_embeddings(self):
        return self.out


class TinyForImageClassification(nn.Module):
    main_input_name = "pixel_values"

    def __init__(self):
        super().__init__()
        self.config, self.out = Config(), nn.Linear(3 * 12 * 12, 3)

    def forward(self, pixel_values, labels=None):
        logits = self.out(pixel_values.flatten(1))
        return {"logits": logits, "loss": F.cross_entropy(logits, labels)}


@pytest.mark.parametrize("causal", [True, False])
def test_language_models_of_transformers(causal):
    setup = coerce(TinyForCausalLM(causal))
    ids = setup.inputs["input_ids"]
    assert (setup.causal, setup.task) == (causal, "language-modeling")
    assert torch.equal(ids, setup.inputs["labels"])
    assert torch.equal(ids, setup.targets)
    assert setup.targets_assumed
    assert not set(ids.flatten().tolist()) & {0, 2}
    assert 3.0 < setup.run()[1].item() < 6.0


def test_what_the_user_says_wins_over_the_class():
    assert coerce({"model": TinyForCausalLM(causal=True), "causal": False}).causal is False


def test_image_models_of_transformers():
    setup = coerce(TinyForImageClassification())
    assert summary(setup.inputs) == "pixel_values=8x3x12x12 float32, labels=8 int64"
    assert setup.run()[1] is not None
