"""What a model says itself about its inputs, by the conventions of the libraries it may come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from nnlint.tensors import map_tensors


@dataclass(frozen=True)
class Hint:
    """Inputs that a model can probably be called with.

    Attributes:
        make: builds them; the generator is the only source of randomness.
        origin: where the guess comes from, in words, to follow "inputs ...: ".
        targets: builds the targets that belong to the inputs, if any.
        changes: further fields of the training setup that follow from the same source.
        ranged: whether integers may be out of the range of an embedding, which only real values show.
    """

    make: Callable[[torch.Generator], Any]
    origin: str
    targets: Callable[[Any], Any] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    ranged: bool = False


def attribute_hints(model: nn.Module, samples: int) -> Iterator[Hint]:
    """The hints in well-known attributes of the model, likeliest first."""
    example = _attribute(model, "example_input_array")
    if example is not None:
        yield Hint(lambda _: _copied(example), "taken from the model's example_input_array")
    if "torchvision.models.detection" in type(model).__module__:
        yield _detection_hint(samples)
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    for name in ("pretrained_cfg", "default_cfg"):
        size = _input_size(_attribute(model, name))
        if size is not None:
            yield _image_hint((samples, *size), f"the input_size of the model's {name}")
            if first is not None and first.in_channels != size[0]:  # built with another number of channels
                yield _image_hint((samples, first.in_channels, *size[1:]), f"the input_size of the model's {name}")
    dummy = _attribute(model, "dummy_inputs")
    if dummy is not None:
        yield Hint(lambda _: _copied(dummy), "taken from the model's dummy_inputs")
    size = _attribute(model, "image_size") or _attribute(model, "img_size")
    if first is not None and _is_size(size):
        sides = (size, size) if isinstance(size, int) else tuple(size)
        yield _image_hint((samples, first.in_channels, *sides), "the image size the model was built with")


def _attribute(model: nn.Module, name: str) -> Any:
    # Such attributes are properties in many libraries, and may raise anything on a half-configured model.
    try:
        return getattr(model, name, None)
    except Exception:
        return None


def _copied(value: Any) -> Any:
    return map_tensors(lambda tensor: tensor.detach().clone(), value)


def _input_size(config: Any) -> tuple[int, ...] | None:
    size = config.get("input_size") if isinstance(config, Mapping) else getattr(config, "input_size", None)
    return tuple(size) if isinstance(size, (tuple, list)) and all(isinstance(n, int) for n in size) else None


def _is_size(size: Any) -> bool:
    if isinstance(size, (tuple, list)):
        return len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)
    return isinstance(size, int) and not isinstance(size, bool) and size > 0


def _image_hint(shape: tuple[int, ...], origin: str) -> Hint:
    return Hint(lambda generator: torch.randn(shape, generator=generator), f"noise of {origin}")


def _detection_hint(samples: int, side: int = 160) -> Hint:
    """Images with one box each: in training, torchvision's detection models take a list of both and return losses."""

    def make(generator: torch.Generator) -> Any:
        images = [torch.rand((3, side, side), generator=generator) for _ in range(samples)]
        box = torch.tensor([[side * 0.2, side * 0.2, side * 0.7, side * 0.7]])
        boxes = [{"boxes": box.clone(), "labels": torch.ones(1, dtype=torch.int64)} for _ in range(samples)]
        return images, boxes

    def targets(inputs: Any) -> Any:
        return inputs[1]

    return Hint(make, "noise images with one box each, as torchvision's detection models take them", targets)
