"""The zoo: healthy public architectures with random weights, built without network.

`zoo()` yields (name, build); `build()` gives (model in evaluation mode, positional arguments, keyword arguments). What
each library offers that is small enough is listed in the JSON files beside this one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

#: Gives a model in evaluation mode, and the positional and keyword arguments that it is called with.
Build = Callable[[], tuple[Any, tuple[Any, ...], dict[str, Any]]]

LIBRARIES = ("nn", "torchvision", "timm", "hf", "pyg")


def zoo(libraries: Iterable[str] = LIBRARIES, timm_per_family: int = 1) -> Iterator[tuple[str, Build]]:
    """Names and build functions of the models of these libraries; a library is imported only when it is asked for."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    wanted = set(libraries)
    if wanted - {"nn", "pyg"}:
        # timm and transformers import torchvision where it is installed, and fail with it.
        from benchmarks.zoo.torchvision_ops import complete_torchvision

        complete_torchvision()
    if "nn" in wanted:
        from benchmarks.zoo.layers import layer_models

        yield from layer_models()
    if "torchvision" in wanted:
        from benchmarks.zoo.pictures import torchvision_models

        yield from torchvision_models()
    if "timm" in wanted:
        from benchmarks.zoo.pictures import timm_models

        yield from timm_models(timm_per_family)
    if "hf" in wanted:
        from benchmarks.zoo.hugging_face import huggingface_models

        yield from huggingface_models()
    if "pyg" in wanted:
        from benchmarks.zoo.graphs import graph_models

        yield from graph_models()
