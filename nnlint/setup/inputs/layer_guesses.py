"""Which input shapes a layer could be given: the guesses that input inference starts from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from nnlint.setup.inputs.spec import make_tensor

#: Sequence lengths to try; the first suits nearly every model.
_LENGTHS = (16, 8, 32, 64, 128)
_IMAGES = (224, 32, 28, 64, 96, 128, 256, 299, 384, 512, 48, 16, 8)
_SIGNALS = (128, 64, 256, 1024, 32, 16, 4096, 16000)
_CLIPS = ((16, 112), (8, 64), (16, 64), (16, 224), (8, 32), (16, 16))


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to make: its whole shape, dtype, and the bound of integers."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    high: int | None = None

    def make(self, generator: torch.Generator) -> torch.Tensor:
        """Random values for it."""
        return make_tensor(self.shape, self.dtype, self.high, generator)


@dataclass(frozen=True)
class LayerGuess:
    """The inputs a layer could be given, likeliest first, and the layer's name in words."""

    layer: str
    specs: tuple[TensorSpec, ...]


def guesses(model: nn.Module, samples: int) -> Iterator[LayerGuess]:
    """For each layer with parameters of its own, in the order of registration, what it could be given."""
    for path, module in model.named_modules():
        if any(is_lazy(parameter) for parameter in module.parameters(recurse=False)):
            continue
        specs = layer_specs(module, samples)
        if specs:
            yield LayerGuess(f"{path or 'the model'} ({type(module).__name__})", tuple(specs))


def layer_specs(module: nn.Module, samples: int) -> list[TensorSpec]:  # noqa: C901, PLR0912 - one line per layer kind
    """The inputs a single layer could be given, likeliest first; empty where nothing is known about it."""
    match module:
        case nn.Embedding() | nn.EmbeddingBag():
            shapes = [*((samples, length) for length in _LENGTHS), (samples,)]
            return [TensorSpec(shape, torch.int64, module.num_embeddings) for shape in shapes]
        case nn.Conv1d() | nn.ConvTranspose1d():
            return _floats((samples, module.in_channels, length) for length in _signal_lengths(module))
        case nn.Conv2d():
            return _images(samples, module.in_channels, image_sizes(module))
        case nn.ConvTranspose2d():
            return _images(samples, module.in_channels, (1, 4, 8, 7, 16, 32))
        case nn.Conv3d() | nn.ConvTranspose3d():
            return _floats((samples, module.in_channels, depth, size, size) for depth, size in _CLIPS)
        case nn.Linear():
            return _features(samples, module.in_features)
        case nn.Bilinear():
            return _floats([(samples, module.in1_features), (samples, module.in2_features)])
        case nn.RNNBase():
            return _sequences(samples, module.input_size, batch_first=module.batch_first)
        case nn.RNNCellBase():
            size = module.input_size
            return _floats([(samples, size), (samples, _LENGTHS[0], size), (_LENGTHS[0], samples, size)])
        case nn.MultiheadAttention():
            return _sequences(samples, module.embed_dim, batch_first=module.batch_first)
        case nn.LayerNorm():
            shape = tuple(module.normalized_shape)
            return _floats([(samples, *shape), (samples, _LENGTHS[0], *shape)])
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d() | nn.SyncBatchNorm():
            return _batch_norm(module, samples)
        case nn.GroupNorm():
            return _images(samples, module.num_channels, (32, 64))
        case _:
            return _by_weight(module, samples)


def _floats(shapes: Iterable[tuple[int, ...]]) -> list[TensorSpec]:
    return [TensorSpec(shape) for shape in shapes]


def _images(samples: int, channels: int, sizes: tuple[int, ...]) -> list[TensorSpec]:
    return _floats([(samples, channels, size, size) for size in sizes])


def _features(samples: int, features: int) -> list[TensorSpec]:
    shapes: list[tuple[int, ...]] = [(samples, features), (samples, _LENGTHS[0], features)]
    for channels in (1, 3):
        side = round((features / channels) ** 0.5)
        if side > 4 and side * side * channels == features:
            shapes.append((samples, channels, side, side))
    return _floats(shapes)


def _sequences(samples: int, features: int, *, batch_first: bool) -> list[TensorSpec]:
    batched = [(samples, length, features) for length in _LENGTHS[:2]]
    time_first = [(length, samples, features) for length in _LENGTHS[:2]]
    return _floats(batched + time_first if batch_first else time_first + batched)


def _batch_norm(
    module: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm, samples: int
) -> list[TensorSpec]:
    if isinstance(module, nn.BatchNorm1d):
        return _floats([(samples, module.num_features), (samples, module.num_features, _SIGNALS[0])])
    if isinstance(module, nn.BatchNorm3d):
        return _floats([(samples, module.num_features, depth, size, size) for depth, size in _CLIPS])
    return _images(samples, module.num_features, (32, 224, 64))


def _by_weight(module: nn.Module, samples: int) -> list[TensorSpec]:
    """A layer of a class unknown here, with the usual (out, in, *kernel) `weight`."""
    # Not getattr: that may run a parametrization.
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    if weight is None or not 2 <= weight.dim() <= 5:
        return []
    channels = weight.shape[1] * int(getattr(module, "groups", 1) or 1)
    match weight.dim():
        case 2:
            return _features(samples, channels)
        case 3:
            return _floats([(samples, channels, length) for length in _SIGNALS])
        case 4:
            return _images(samples, channels, _IMAGES)
        case _:
            return _floats([(samples, channels, depth, size, size) for depth, size in _CLIPS])


def image_sizes(conv: nn.Conv2d) -> tuple[int, ...]:
    """Image sizes to try for a first convolution: small ones first where it looks like a net for small images."""
    if conv.in_channels == 1:
        first: tuple[int, ...] = (28, 32, 64)
    elif max(conv.stride) > 1 or max(conv.kernel_size) > 5:
        first = (224,)
    else:
        first = (32, 28, 64, 96, 224)
    return tuple(dict.fromkeys((*first, *_IMAGES)))


def _signal_lengths(conv: nn.Conv1d | nn.ConvTranspose1d) -> tuple[int, ...]:
    raw_audio = conv.in_channels == 1 and conv.kernel_size[0] >= 10
    return tuple(dict.fromkeys((16000, *_SIGNALS))) if raw_audio else _SIGNALS


def scanned(spec: TensorSpec) -> Iterator[TensorSpec]:
    """The same image or signal at every plausible size, for nets that flatten into a linear layer."""
    sizes = dict.fromkeys((*range(4, 129), *range(136, 321, 8), *range(100, 1001, 50)))
    spatial = len(spec.shape) - 2
    for size in sizes:
        yield TensorSpec((*spec.shape[:2], *([size] * spatial)), spec.dtype, spec.high)
