"""A model of the zoo as one would train it: train mode, a batch of eight (two where samples are large), an optimizer, a loss where one is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

BATCH = 8
#: Of samples with more values than this (images of 1024 x 1024, clips) two make a batch: eight need tens of gigabytes.
LARGE, FEW = 1_000_000, 2
#: So do samples of which the layers make more values than this: a backward pass keeps them, and eight fill four gigabytes.
WIDE = 1 << 27
#: Inputs of these are (time, batch, ...), or nodes and edges: there is no dimension 0 to widen.
NOT_BATCH_FIRST = ("nn/decoder", "pyg/")
TOKENS = ("input_ids", "decoder_input_ids")


@dataclass(frozen=True)
class ZooSetup:
    """The fields of a TrainingSetup, and where its loss came from."""

    fields: dict[str, Any]
    loss_kind: str


def training_setup(name: str, build: Callable[[], Any]) -> ZooSetup:
    """Build one model of the zoo with everything a check needs."""
    model, args, kwargs = build()
    if args and kwargs:  # a TrainingSetup has one or the other
        args, kwargs = (), inspect.signature(model.forward).bind_partial(*args, **kwargs).arguments
    torch.manual_seed(1)
    if name.startswith("torchvision/") and isinstance(args[0] if args else None, list):
        return _detection(model)
    if not name.startswith(NOT_BATCH_FIRST):
        args, kwargs = _widened(model, args, kwargs)
    fields: dict[str, Any] = {"model": model, "inputs": kwargs or args, "optimizer": _optimizer(model)}
    kind = "none"
    if name.startswith("hf/"):
        labels = _own_labels(model, kwargs)
        if labels:
            fields["inputs"], kind = kwargs | labels, "own"
    elif name.startswith(("timm/", "torchvision/")):
        output = _forward(model, args, kwargs)
        if isinstance(output, torch.Tensor) and output.dim() == 2 and output.shape[0] > 1 and output.shape[1] > 1:
            fields |= {"targets": torch.randint(0, output.shape[1], (len(output),)), "loss": _classification_loss}
            kind = "cross_entropy"
    model.train()
    return ZooSetup(fields, kind)


def _classification_loss(output: Any, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy; with auxiliary heads, which Inception and GoogLeNet have in training mode, 0.4 of theirs on top."""
    if isinstance(output, torch.Tensor):
        return nn.functional.cross_entropy(output, targets)
    heads = [nn.functional.cross_entropy(head, targets) for head in output if head is not None]
    return heads[0] + 0.4 * torch.stack(heads[1:]).sum() if len(heads) > 1 else heads[0]


def _widened(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The inputs with eight different samples, or as they were where the model takes no such batch."""
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor) and value.dim() > 0]
    if not tensors:
        return args, kwargs
    size = tensors[0].shape[0]
    largest = max(tensor.numel() // max(size, 1) for tensor in tensors)
    few = largest > LARGE or _values_made(model, args, kwargs) // max(size, 1) > WIDE
    batch = FEW if few else BATCH
    wide_args = tuple(_rows(f"{index}", value, size, batch) for index, value in enumerate(args))
    wide_kwargs = {key: _rows(key, value, size, batch) for key, value in kwargs.items()}
    try:
        _forward(model, wide_args, wide_kwargs)
    except Exception:
        return args, kwargs
    return wide_args, wide_kwargs


def _values_made(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many numbers the innermost layers put out in one forward."""
    made = 0

    def count(module: nn.Module, _given: Any, output: Any) -> None:
        nonlocal made
        if isinstance(output, torch.Tensor) and next(module.children(), None) is None:
            made += output.numel()

    handle = nn.modules.module.register_module_forward_hook(count)
    try:
        _forward(model, args, kwargs)
    finally:
        handle.remove()
    return made


def _rows(key: str, value: Any, size: int, batch: int) -> Any:
    if not isinstance(value, torch.Tensor) or value.dim() == 0 or value.shape[0] != size:
        return value
    shape = (batch, *value.shape[1:])
    if value.is_floating_point():
        unit = value.numel() > 0 and bool(value.min() >= 0) and bool(value.max() <= 1)
        return (torch.rand if unit else torch.randn)(shape, dtype=value.dtype)
    if key in TOKENS or key.isdecimal():  # other integers (boxes, masks, positions) have a structure of their own
        return torch.randint(int(value.min()), int(value.max()) + 1, shape, dtype=value.dtype)
    if key == "bbox" and not bool(value.any()):
        corners = torch.randint(0, 400, shape, dtype=value.dtype)
        corners[..., 2:] += corners[..., :2]
        return corners
    return value[torch.arange(batch) % size]


def _forward(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One evaluation-mode forward that leaves the batch statistics alone."""
    model.eval()
    with torch.no_grad():
        return model(*args, **kwargs)


def _optimizer(model: nn.Module) -> torch.optim.Optimizer:
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    if any(isinstance(module, norms) for module in model.modules()):
        return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return torch.optim.AdamW(model.parameters(), lr=3e-4)


def _own_labels(model: nn.Module, kwargs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Labels of the first form from which a Hugging Face model computes its own loss; empty where none fits."""
    config: Any = model.config
    if "duration_labels" in inspect.signature(model.forward).parameters:
        return _speech_labels(config, kwargs["input_ids"])
    classes = int(getattr(config, "num_labels", 0) or 2)
    forms = [_token_labels(model, key, kwargs[key]) for key in reversed(TOKENS) if key in kwargs]
    batch = next((len(value) for value in kwargs.values() if isinstance(value, torch.Tensor) and value.dim()), BATCH)
    forms += [torch.randint(0, classes, (batch,)), torch.randint(1, 20, (batch, 5))]
    for labels in forms:
        try:
            loss = getattr(_forward(model, (), kwargs | {"labels": labels}), "loss", None)
        except Exception:
            continue  # the form does not fit this model: the next may
        if isinstance(loss, torch.Tensor) and loss.dim() == 0 and bool(loss.isfinite()):
            return {"labels": labels}
    return {}


def _token_labels(model: nn.Module, key: str, ids: torch.Tensor) -> torch.Tensor:
    """The next token for a decoder that is given its input, the same for one that shifts labels itself, else other ids.

    A model that sees both ways would only copy labels that are its input.
    """
    if key == "decoder_input_ids":
        return ids.roll(-1, -1)
    causal = any(getattr(module, "is_causal", False) is True for module in model.modules())
    if not causal:
        return ids.roll(1, 0)
    return ids.clone() if _shifts_labels(model, key, ids) else ids.roll(-1, -1)


def _shifts_labels(model: nn.Module, key: str, ids: torch.Tensor) -> bool:
    """Whether the model's own loss compares output t with label t + 1: then the first label of a sequence counts for nothing."""
    other = ids.clone()
    other[:, 0] = ids[:, 1]
    try:
        losses = [_forward(model, (), {key: ids, "labels": labels}).loss for labels in (ids, other)]
        return torch.equal(*losses)
    except Exception:
        return True  # what the next call with labels says is that of this one


def _speech_labels(config: Any, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """What FastSpeech 2 is trained with, and does not run without in train mode: two frames of a spectrogram for each token."""
    samples, length = tokens.shape
    return {
        "duration_labels": torch.full((samples, length), 2),
        "pitch_labels": torch.randn(samples, length, 1),
        "energy_labels": torch.randn(samples, length, 1),
        "spectrogram_labels": torch.randn(samples, 2 * length, config.num_mel_bins),
    }


def _detection(model: nn.Module) -> ZooSetup:
    """Detectors of torchvision take lists of images and of boxes, and return their losses in train mode."""
    images = [torch.rand(3, 160, 160) for _ in range(2)]
    boxes = torch.tensor([[10.0, 10.0, 80.0, 90.0], [50.0, 40.0, 150.0, 120.0]])
    parts = {"masks": torch.ones(2, 160, 160), "keypoints": torch.ones(2, 17, 3)}
    truth = [{"boxes": boxes, "labels": torch.tensor([1, 2]), **parts} for _ in images]
    model.train()
    fields = {
        "model": model,
        "inputs": (images, truth),
        "loss": lambda output, _targets: sum(output.values()),
        "optimizer": _optimizer(model),
    }
    return ZooSetup(fields, "sum of the model's losses")
