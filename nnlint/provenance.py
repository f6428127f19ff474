"""Whose code a file is: the user's, a model library's, torch's, Python's or nnlint's. One answer for everybody.

What a model library chose is not its user's to change, so rules judge it more leniently. A file is a library's by the
import name of its package, never by where it lies: the same project is the user's from a folder and installed by pip.
No torch here.
"""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig
from collections.abc import Collection, Mapping
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any


class Owner(str, Enum):
    """Whose a line of code is."""

    USER = "user"
    LIBRARY = "library"
    TOOL = "tool"  # torch, the standard library, nnlint, generated code and what calls the user's code on its behalf


#: Import name of a package -> why its models and layers are not the user's to change. The setting `libraries` replaces
#: the names, so that the authors of one of them check it as their own code.
MODEL_LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        "timm": "published vision models; the prefix timm:",
        "torchvision": "published vision models; the prefix torchvision:",
        "transformers": "published language and multimodal models; the prefix hf:",
        "transformers_modules": "model code that transformers downloads with a checkpoint",
        "torchaudio": "published speech models",
        "torchtext": "published text models",
        "diffusers": "published diffusion models",
        "sentence_transformers": "published sentence encoders on top of transformers",
        "peft": "adapters around published models",
        "open_clip": "published image-text models",
        "segmentation_models_pytorch": "published segmentation models",
        "monai": "published models for medical images",
        "torch_geometric": "published graph layers and models",
        "dgl": "published graph layers and models",
        "speechbrain": "published speech models",
        "fairseq": "published sequence models",
        "ultralytics": "published detection models",
        "mmcv": "building blocks of the published OpenMMLab models",
        "mmengine": "building blocks of the published OpenMMLab models",
        "mmdet": "published detection models",
        "mmseg": "published segmentation models",
        "detectron2": "published detection models",
        "pytorchvideo": "published video models",
        "stable_baselines3": "published agents and their networks",
        "torchmetrics": "published metrics and losses",
        "xformers": "published attention layers",
        "gpytorch": "published Gaussian process models",
    }
)

#: Prefix of a target (`timm:resnet18`) -> import name of the library that makes the model.
LIBRARY_OF: Mapping[str, str] = MappingProxyType({"timm": "timm", "torchvision": "torchvision", "hf": "transformers"})
_KNOWN = frozenset(MODEL_LIBRARIES)

#: Packages whose frames are passed over: they run torch, or the user's code, for whoever called them, so that the line
#: that explains a fault is the caller's.
_PASSED_OVER = frozenset(
    {
        "accelerate", "beartype", "click", "cv2", "datasets", "einops", "functorch", "huggingface_hub", "hydra",
        "jaxtyping", "lightning", "lightning_fabric", "lightning_utilities", "networkx", "nnlint", "nnlint_rules", "numpy",
        "omegaconf", "opt_einsum", "pandas", "PIL", "pluggy", "pydantic", "pydantic_core", "pytest", "_pytest",
        "pytorch_lightning", "safetensors", "scipy", "sklearn", "sympy", "tokenizers", "torch", "torchgen", "tqdm",
        "triton", "typeguard", "typing_extensions", "yaml",
    }
)  # fmt: skip

#: Code without a file that a person wrote all the same: a notebook's cell, a doctest, `python -c`.
_WRITTEN_WITHOUT_FILE = ("<stdin", "<ipython", "<doctest", "<string")


def package_of(value: Any) -> str:
    """Import name of the top-level package that a class or function is defined in (`"torch"`, `"timm"`)."""
    return str(getattr(value, "__module__", "") or "").partition(".")[0]


def is_library_package(name: str, libraries: Collection[str] = MODEL_LIBRARIES) -> bool:
    """Whether code of this top-level package is a model library's."""
    return name in libraries


def owner_of(file: str) -> Owner:
    """Whose code the file of a code object (`co_filename`) is."""
    if is_tool_file(file):
        return Owner.TOOL
    return Owner.LIBRARY if is_library_file(file) else Owner.USER


@functools.cache
def is_tool_file(file: str) -> bool:
    """Whether a line of this file never explains a fault: torch's, Python's or nnlint's, or generated code."""
    if file.startswith("<"):
        return not file.startswith(_WRITTEN_WITHOUT_FILE)
    return is_nnlint_file(file) or _is_standard_library(file) or _package_with(file, _PASSED_OVER) is not None


@functools.cache
def is_nnlint_file(file: str) -> bool:
    """Whether a file is part of nnlint itself. A project of the user's in a folder of that name is not."""
    return _is_inside(file, (os.path.realpath(os.path.dirname(__file__)),)) or (  # noqa: PTH120 called for every frame
        _package_with(file, frozenset({"nnlint_rules"})) is not None
    )


def is_library_file(file: str, libraries: Collection[str] = MODEL_LIBRARIES) -> bool:
    """Whether a file belongs to a model library."""
    return _package_with(file, _KNOWN if libraries is MODEL_LIBRARIES else frozenset(libraries)) is not None


@functools.cache
def is_installed(file: str) -> bool:
    """Whether a file lies where the interpreter keeps its own modules and installed packages.

    This says what two projects share, never whose code it is: `owner_of` does.
    """
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update([*site.getsitepackages(), site.getusersitepackages()])
    return is_tool_file(file) or _is_inside(file, tuple(os.path.realpath(folder) for folder in folders))


@functools.cache
def _package_with(file: str, names: frozenset[str]) -> str | None:
    """The imported top-level package of one of these names that holds the file."""
    parts = set(Path(os.path.realpath(file)).with_suffix("").parts)
    for name in parts & names:
        module = sys.modules.get(name)
        folders = [*getattr(module, "__path__", ())] if module is not None else []
        if _is_inside(file, tuple(map(os.path.realpath, folders))) or _is_file_of(module, file):
            return name
    return None


def _is_file_of(module: Any, file: str) -> bool:
    """Whether a module without a folder of its own (`typing_extensions.py`) is this file."""
    own = getattr(module, "__file__", None)
    return own is not None and os.path.realpath(own) == os.path.realpath(file)


@functools.cache
def _is_standard_library(file: str) -> bool:
    """Whether a file is a module of Python's own; installed packages may lie in a folder below it and are not."""
    place = Path(os.path.realpath(file))
    for key in ("stdlib", "platstdlib"):
        root = Path(os.path.realpath(sysconfig.get_paths()[key]))
        if root in place.parents:
            return place.relative_to(root).with_suffix("").parts[0] in sys.stdlib_module_names
    return False


def _is_inside(file: str, folders: tuple[str, ...]) -> bool:
    return os.path.realpath(file).startswith(tuple(f"{folder}{os.sep}" for folder in folders))
