"""The optional libraries, for the tests of the adapters: imported where they are installed, else the test is skipped."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import torch

#: Operators whose schemas torchvision's Python part expects its compiled part to have registered.
_COMPILED = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def library(name: str) -> ModuleType:
    """The library, imported without its warnings; the calling test is skipped where it is absent.

    Only absence skips: a library that is installed and cannot be imported fails the test.
    """
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"{name} is not installed", allow_module_level=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _complete_torchvision()
        return importlib.import_module(name)


@cache
def _complete_torchvision() -> Any:
    """Let torchvision be imported beside a torch build other than its wheel's: its compiled operators do not load there.

    Classification models need none of them. timm, transformers and lightning import torchvision where it is installed,
    and fail with it.
    """
    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        import torchvision
    except Exception:
        for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[module]
        defined = torch.library.Library("torchvision", "DEF")
        for schema in _COMPILED:
            defined.define(schema)
        import torchvision  # noqa: F401

        return defined  # the operators live as long as this object
    return None
