"""`timm:NAME`, `torchvision:NAME`, `hf:CONFIG_PATH` with the real libraries."""

from __future__ import annotations

import json

import pytest
import torch

from nnlint.config import CheckSettings
from nnlint.engine import check
from nnlint.finding import Level
from nnlint.setup import SetupError, SetupOptions
from nnlint.setup.target.resolve import resolve
from tests.libraries import library

#: A configuration as `save_pretrained` writes it.
CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 200,
    "id2label": {"0": "no", "1": "maybe", "2": "yes"},
    "label2id": {"no": 0, "maybe": 1, "yes": 2},
}


def loud(report):
    return [(item.code, item.module) for item in report.findings if item.level.at_least(Level.WARNING)]


@pytest.fixture
def config(tmp_path):
    def write(**changes):
        (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **changes}))
        return tmp_path / "config.json"

    return write


@pytest.mark.parametrize(
    ("target", "shape"),
    [
        ("timm:test_resnet", (8, 3, 160, 160)),
        ("timm:test_vit(num_classes=10)", (8, 3, 160, 160)),
        ("timm:test_resnet.r160_in1k(in_chans=1, num_classes=4)", (8, 1, 160, 160)),
    ],
)
def test_timm(target, shape):
    library("timm")
    setup = resolve(target, SetupOptions(seed=3))
    assert tuple(setup.inputs.shape) == shape
    assert setup.call_model().shape[0] == 8
    assert torch.equal(_first(resolve(target, SetupOptions(seed=3)).model), _first(setup.model))
    assert not torch.equal(_first(resolve(target, SetupOptions(seed=4)).model), _first(setup.model))


def _first(model):
    return next(iter(model.parameters()))


def test_timm_names_are_suggested():
    library("timm")
    with pytest.raises(SetupError, match="timm has no model 'test_resnett'; did you mean"):
        resolve("timm:test_resnett")
    with pytest.raises(SetupError, match="widht"):
        resolve("timm:test_resnet(widht=3)")


def test_a_timm_model_is_checked():
    library("timm")
    settings = CheckSettings(loss="cross_entropy", input=("3x64x64",))
    report = check("timm:test_resnet(num_classes=10)", settings)
    assert report.status == "ok"
    assert loud(report) == []


def test_torchvision():
    library("torchvision")
    setup = resolve("torchvision:mobilenet_v3_small(num_classes=7)", SetupOptions(inputs=("3x64x64",)))
    assert setup.call_model().shape == (8, 7)
    with pytest.raises(SetupError, match="torchvision has no model 'resnet81'; did you mean resnet18"):
        resolve("torchvision:resnet81")


def test_torchvision_segmentation_downloads_no_backbone():
    library("torchvision")
    setup = resolve("torchvision:lraspp_mobilenet_v3_large(num_classes=3)", SetupOptions(inputs=("3x64x64",)))
    assert setup.call_model()["out"].shape == (8, 3, 64, 64)


@pytest.mark.parametrize("folder", [False, True])
def test_a_hugging_face_configuration(config, folder, tmp_path):
    library("transformers")
    path = config()
    setup = resolve(f"hf:{tmp_path if folder else path}")
    assert type(setup.model).__name__ == "BertForSequenceClassification"
    assert setup.model.config.num_labels == 3
    assert setup.run()[1].isfinite()
    assert loud(check(f"hf:{path}", CheckSettings())) == []


def test_a_configuration_may_be_changed(config):
    library("transformers")
    assert len(resolve(f"hf:{config()}(num_hidden_layers=1)").model.bert.encoder.layer) == 1


@pytest.mark.parametrize("architectures", [None, ["SomethingOfTheirOwn"]])
def test_without_a_known_class_the_plain_model_is_built(config, architectures):
    library("transformers")
    assert type(resolve(f"hf:{config(architectures=architectures)}").model).__name__ == "BertModel"


def test_a_configuration_says_what_is_wrong_with_it(config, tmp_path):
    library("transformers")
    with pytest.raises(SetupError, match=r"no Hugging Face configuration nowhere\.json") as caught:
        resolve("hf:nowhere.json")
    assert caught.value.fix == "give a config.json or the folder that holds one"
    with pytest.raises(SetupError, match="is not a Hugging Face configuration"):
        resolve(f"hf:{config(model_type='berd')}")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SetupError, match="is not a Hugging Face configuration"):
        resolve(f"hf:{tmp_path / 'config.json'}")


def test_a_configuration_names_no_function_of_the_library(config):
    library("transformers")
    with pytest.raises(SetupError, match="is not a model class"):
        resolve(f"hf:{config(architectures=['pipeline'])}")


def test_experts_of_a_static_check_need_no_values(tmp_path):
    library("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 200}
    experts = {"num_key_value_heads": 2, "num_local_experts": 4, "architectures": ["MixtralForCausalLM"], "model_type": "mixtral"}
    (tmp_path / "config.json").write_text(json.dumps({**sizes, **experts}))
    report = check(f"hf:{tmp_path}", CheckSettings(static=True))
    assert report.status == "ok"
    assert report.subject["device"] == "meta"
    assert loud(report) == []
