"""The healthy models that benchmarks/mutation.py puts faults into: the idioms of tests/idioms and small models of the zoo."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

IDIOMS = Path(__file__).resolve().parent.parent / "tests" / "idioms"

#: Models of the zoo that are built and checked in a second or two, of all its libraries and many architectures.
ZOO = (
    "nn/transformer", "nn/encoder", "nn/encoder_norm_first", "nn/decoder", "nn/lstm_lm", "nn/bigru_last", "nn/rnncell_loop", "nn/mlp",
    "nn/lenet", "nn/cnn_bn", "nn/cnn_flatten_32", "nn/conv1d_flatten", "nn/conv3d", "nn/autoencoder", "nn/embbag", "nn/mha_block",
    "nn/data_dep", "nn/two_inputs", "pyg/GraphSAGE", "pyg/PMLP",
    "torchvision/mobilenet_v3_small", "torchvision/mnasnet0_5", "torchvision/shufflenet_v2_x1_5", "torchvision/regnet_x_800mf",
    "timm/test_byobnet", "timm/test_efficientnet_ln", "timm/test_nfnet", "timm/test_vit4", "timm/test_coatnet", "timm/resnet10t",
    "timm/resnetv2_18", "timm/convnext_zepto_rms", "timm/pvt_v2_b0", "timm/regnetx_002", "timm/ese_vovnet19b_slim_dw",
    "hf/AlbertForSequenceClassification", "hf/BeitForImageClassification", "hf/BertLMHeadModel", "hf/BlenderbotSmallForCausalLM",
    "hf/DeiTForImageClassification", "hf/Dinov2ForImageClassification", "hf/DistilBertForSequenceClassification",
    "hf/FalconMambaForCausalLM", "hf/FNetForSequenceClassification", "hf/GPT2LMHeadModel", "hf/ImageGPTForImageClassification",
    "hf/MegatronBertForCausalLM", "hf/MistralForCausalLM", "hf/NomicBertForSequenceClassification", "hf/PhiForCausalLM",
    "hf/PLBartForCausalLM", "hf/SiglipForImageClassification", "hf/T5ForConditionalGeneration", "hf/ViTForImageClassification",
)  # fmt: skip

#: Pictures for the models of the zoo that take any size: a check of 224 x 224 takes five times as long.
PICTURE = 96

#: TorchScript takes neither hooks nor other layers.
UNCHANGEABLE = {"build_scripted"}


@dataclass(frozen=True)
class Subject:
    """A healthy model to put faults into."""

    name: str
    build: Callable[[], dict[str, Any]]


def idioms() -> Iterator[Subject]:
    """The healthy idioms that are given as a dict; those that need a library that is not there are left out, and named."""
    from benchmarks.zoo.torchvision_ops import complete_torchvision

    complete_torchvision()
    if str(IDIOMS) not in sys.path:
        sys.path.insert(0, str(IDIOMS))  # they share files
    seen: set[str] = set()
    for file in sorted(IDIOMS.glob("healthy_*.py")):
        if "lightning" in file.stem:
            continue  # the loss is a method: operators on loss and head do not reach it
        try:
            module = _imported(file)
        except ImportError as error:
            print(f"left out {file.name}: {error}", flush=True)
            continue
        for name, build in vars(module).items():
            if name.startswith("build_") and name not in UNCHANGEABLE:
                short = name.removeprefix("build_")
                named = f"{file.stem.removeprefix('healthy_')}.{short}" if short in seen else short
                seen.add(short)
                yield Subject(f"idioms/{named}", build)


def _imported(file: Path) -> ModuleType:
    """A file of idioms as a module."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


def zoo_models(zoo: ModuleType) -> Iterator[Subject]:
    """The models of a zoo that are mutated; one that cannot be built is left out, and named."""
    from benchmarks.zoo_setup import training_setup

    for name, build in zoo.zoo(("nn", "timm", "torchvision", "hf", "pyg"), 1):
        if name not in ZOO:
            continue

        def fields(name: str = name, build: Callable[[], Any] = build) -> dict[str, Any]:
            return _classified(name, training_setup(name, _smaller(build)).fields)

        try:
            fields()  # imports what it needs, once for all workers
        except Exception as error:
            print(f"left out {name}: {type(error).__name__}: {error}", flush=True)
            continue
        yield Subject(name, fields)


def _smaller(build: Callable[[], Any]) -> Callable[[], Any]:
    """Build a model with smaller pictures where it takes them."""

    def built() -> Any:
        import torch

        model, args, kwargs = build()
        if not args or args[0].dim() != 4 or min(args[0].shape[2:]) <= PICTURE:
            return model, args, kwargs
        smaller = (args[0][..., :PICTURE, :PICTURE].contiguous(), *args[1:])
        try:
            with torch.no_grad():
                model(*smaller, **kwargs)
        except (RuntimeError, AssertionError):
            return model, args, kwargs  # its positions are those of one size
        return model, smaller, kwargs

    return built


def _classified(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The setup of a zoo model with plain cross-entropy where it gives (batch, classes)."""
    import torch
    from torch import nn

    from benchmarks.mutation_tools import called, prediction_of

    if name.startswith(("hf/", "pyg/")):
        return fields
    with torch.no_grad():
        found = prediction_of(called(fields["model"], fields["inputs"]))
    if found is not None and found.dim() == 2 and found.shape[0] == 8 and found.shape[1] > 1:
        targets = fields.get("targets")
        fields |= {
            "targets": torch.arange(8) % found.shape[1] if targets is None else targets,
            "loss": nn.CrossEntropyLoss(),
        }
    return fields
