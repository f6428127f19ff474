"""Models of timm and torchvision."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.zoo import Build
from benchmarks.zoo.listed import LARGEST, is_listed, read


def timm_models(per_family: int) -> Iterator[tuple[str, Build]]:
    """The smallest models of each file of timm."""
    families: dict[str, list[tuple[int, str, list[int]]]] = {}
    for name, (family, parameters, size, _, _) in read("timm_sizes.json").items():
        if parameters and parameters < LARGEST:
            families.setdefault(family, []).append((parameters, name, size))
    for _, members in sorted(families.items()):
        for _, name, size in sorted(members)[:per_family]:
            yield f"timm/{name}", functools.partial(_timm, name, size)


def _timm(name: str, size: list[int]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    import timm

    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False).eval(), (torch.rand(1, *size),), {}


def torchvision_models() -> Iterator[tuple[str, Build]]:
    """The models of torchvision that are small enough."""
    import torchvision

    big = set(read("tv_big.json"))
    for name in torchvision.models.list_models():
        if not name.startswith("quantized") and name not in big and is_listed(f"torchvision/{name}"):
            yield f"torchvision/{name}", functools.partial(_torchvision, name)


def _torchvision(name: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    import torchvision

    torch.manual_seed(0)
    make = torchvision.models.get_model_builder(name)
    if "detection" in make.__module__:
        return make(**_detection(name)).eval(), ([torch.rand(3, 160, 160)],), {}
    if "segmentation" in make.__module__:
        return make(weights=None, weights_backbone=None).eval(), (torch.rand(1, 3, 96, 96),), {}
    model = make(weights=None).eval()
    if "raft" in make.__module__:
        return model, (torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128)), {"num_flow_updates": 2}
    if "video" in make.__module__:
        fixed = any(part in name for part in ("mvit", "swin", "s3d"))
        return model, (torch.rand(1, 3, 16, 224, 224) if fixed else torch.rand(1, 3, 8, 64, 64),), {}
    side = 299 if "inception" in name else 224
    return model, (torch.rand(1, 3, side, side),), {}


def _detection(name: str) -> dict[str, Any]:
    """Settings under which a detector works on a small picture and keeps few boxes."""
    settings: dict[str, Any] = {"weights": None, "weights_backbone": None}
    if "ssd" not in name:
        settings |= {"min_size": 160, "max_size": 160}
    if "rcnn" in name:
        settings |= {"rpn_pre_nms_top_n_test": 50, "rpn_post_nms_top_n_test": 20}
    if name.startswith(("retinanet", "fcos", "ssd")):
        settings["topk_candidates"] = 20
    return settings
