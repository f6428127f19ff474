"""Targets that name a model of a library: `timm:resnet18`, `torchvision:resnet18(num_classes=10)`, `hf:config.json`."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from torch import nn

from nnlint.setup.errors import SetupError


def _library(name: str) -> ModuleType:
    """The library, if it can be imported: broken installations raise anything."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise SetupError("RUN001", f"{name} is not installed", fix=f"pip install {name}") from error
        fix = f"pip install {error.name}"
        raise SetupError("RUN001", f"{name} cannot be imported: it lacks {error.name!r}", fix=fix) from error
    except Exception as error:
        message = f"{name} cannot be imported: {type(error).__name__}: {error}"
        fix = f'make it work in Python first: python -c "import {name}"; often it was built for another torch'
        raise SetupError("RUN001", message, fix=fix) from error


def _known(name: str, names: list[str], library: str) -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    fix = f"name one of {library}.{'models.' if library == 'torchvision' else ''}list_models()"
    raise SetupError("RUN001", f"{library} has no model {name!r}{hint}", fix=fix)


def timm_model(name: str, /, **kwargs: Any) -> nn.Module:
    """A timm model with random weights."""
    timm = _library("timm")
    architecture = name.partition(".")[0]
    _known(architecture, timm.list_models(), "timm")
    model: nn.Module = timm.create_model(name, **{"pretrained": False, **kwargs})
    return model


def torchvision_model(name: str, /, **kwargs: Any) -> nn.Module:
    """A torchvision model with random weights, its backbone included."""
    models = _library("torchvision").models
    _known(name, models.list_models(), "torchvision")
    builder = models.get_model_builder(name)
    if "weights_backbone" in inspect.signature(builder).parameters:
        # Its default downloads trained weights even where none are asked for.
        kwargs = {"weights_backbone": None, **kwargs}
    model: nn.Module = builder(**{"weights": None, **kwargs})
    return model


def huggingface_model(path: str, /, **kwargs: Any) -> nn.Module:
    """A transformers model with random weights, from a configuration file or folder on this machine.

    The class is the configuration's own (`architectures`), else the plain model. Nothing is downloaded.
    """
    place = Path(path)
    if not place.exists():
        raise SetupError(
            "RUN001", f"no Hugging Face configuration {path}", fix="give a config.json or the folder that holds one"
        )
    transformers = _library("transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(str(place), local_files_only=True, **kwargs)
    except Exception as error:
        fix = "give a config.json or the folder that holds one"
        raise SetupError("RUN001", f"{path} is not a Hugging Face configuration: {error}", fix=fix) from error
    if torch.get_default_device().type == "meta" and hasattr(config, "_experts_implementation"):
        # The usual ones gather the tokens of each expert, whose number is a matter of values.
        config._experts_implementation = "batched_mm"  # noqa: SLF001 the setting has no other name
    name = next(iter(getattr(config, "architectures", None) or ()), None)
    owner = getattr(transformers, name, None) if name is not None else None
    if owner is None:
        plain: nn.Module = transformers.AutoModel.from_config(config)
        return plain
    if not (isinstance(owner, type) and issubclass(owner, nn.Module)):
        raise SetupError("RUN001", f"{path} is a configuration for {name}, which is not a model class of transformers")
    return owner(config)


#: Prefix of a target -> what makes the model from the rest of it.
ADAPTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"timm": timm_model, "torchvision": torchvision_model, "hf": huggingface_model}
)
