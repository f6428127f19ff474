"""Models of transformers: each configuration class, made small, with inputs guessed from the forward's signature."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.zoo import Build
from benchmarks.zoo.listed import read

#: Largest value -> the settings of a configuration that are cut to it.
_SIZES = read("hf_settings.json")
_CUT = {name: int(size) for size, names in _SIZES.items() for name in names}
#: Where cutting the widths breaks a model: only its depth and its vocabulary.
_CUT_DEPTH = {name: size for name, size in _CUT.items() if (size == 2 and "layer" in name) or name == "depth"}
_LISTS = ("layer_types", "layers_block_type", "mlp_layer_types")


def huggingface_models() -> Iterator[tuple[str, Build]]:
    """The models that are known to build and run."""
    for model_type, entry in sorted(read("hf_zoo.json").items()):
        if entry["ok"]:
            make = functools.partial(_build, model_type, entry["cls"], entry["level"], entry["cand"])
            yield f"hf/{entry['cls']}", make


def _build(model_type: str, name: str, level: int, candidate: int) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The model, cut as far as `level` says, and the candidate of its inputs that is known to run."""
    import transformers
    from transformers.models.auto import configuration_auto

    torch.manual_seed(0)
    config = getattr(transformers, configuration_auto.CONFIG_MAPPING_NAMES[model_type])()
    _shrink(config, level, set())
    model = getattr(transformers, name)(config).eval()
    return model, (), _candidates(model, config)[candidate]


def _shrink(config: Any, level: int, seen: set[int]) -> None:
    """Cut a configuration and those inside it: 0 cuts widths and depth, 1 the depth, 2 nothing."""
    from transformers import PreTrainedConfig

    if id(config) in seen:
        return
    seen.add(id(config))
    for key, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            _shrink(value, level, seen)
        elif key == "prediction_length" and value is None:
            config.prediction_length = 8
        elif level < 2:
            _cut(config, key, value, level)


def _cut(config: Any, key: str, value: Any, level: int) -> None:
    """Cut one setting."""
    limits = _CUT if level == 0 else {**_CUT_DEPTH, "vocab_size": 512}
    limit = limits.get(getattr(type(config), "attribute_map", {}).get(key, key))
    whole = isinstance(value, int) and not isinstance(value, bool)
    if limit is not None and whole and value > limit:
        setattr(config, key, limit)
    elif key.endswith("token_id") and isinstance(value, int) and value >= 500:
        setattr(config, key, 7)
    elif key in _LISTS and isinstance(value, list) and len(value) > 2:
        setattr(config, key, [value[0], next((item for item in value if item != value[0]), value[0])])
    elif level == 0 and key in ("image_size", "img_size") and whole and value > 64:
        if getattr(config, "patch_size", 64) in (4, 8, 16, 32):
            config.image_size = 64


def _setting(config: Any, *names: str) -> Any:
    """The first of these settings that a configuration, or one inside it, has."""
    from transformers import PreTrainedConfig

    for name in names:
        if getattr(config, name, None) is not None:
            return getattr(config, name)
    inner = (value for value in vars(config).values() if isinstance(value, PreTrainedConfig))
    return next((found for value in inner if (found := _setting(value, *names)) is not None), None)


def _candidates(model: Any, config: Any) -> list[dict[str, Any]]:
    """Keyword arguments to try, likeliest first. The lists of the zoo name them by position: their order is fixed."""
    names = inspect.signature(model.forward).parameters
    generator = torch.Generator().manual_seed(0)
    base = _ids(names, config, generator)
    others = [*_sounds(names, config, generator), *_images(names, config, generator), *_series(names, config)]
    both = [{**base, **other} for other in others]
    if "input_ids" not in names:
        found = both
    elif "pixel_values" in names and type(model).__name__.endswith("Model"):
        found = [*both, base]
    else:
        found = [base, *both]
    if "decoder_input_ids" in base:
        found += [{key: value for key, value in one.items() if key != "decoder_input_ids"} for one in found]
    found = [one for one in found if one]
    with contextlib.suppress(Exception):
        found.append(dict(model.dummy_inputs))
    return found


def _ids(names: Any, config: Any, generator: torch.Generator) -> dict[str, Any]:
    high = min(_setting(config, "vocab_size") or 512, 500)
    base: dict[str, Any] = {}
    if "input_ids" in names:
        base["input_ids"] = torch.randint(8, high, (2, 16), generator=generator)
    if "bbox" in names and "input_ids" in names:
        base["bbox"] = torch.zeros(2, 16, 4, dtype=torch.long)
    if "decoder_input_ids" in names:
        base["decoder_input_ids"] = torch.randint(8, high, (2, 8), generator=generator)
    return base


def _sounds(names: Any, config: Any, generator: torch.Generator) -> Iterator[dict[str, Any]]:
    if "input_values" in names:
        yield {"input_values": torch.randn(2, 8000, generator=generator)}
        yield {"input_values": torch.randn(2, 1024, 128)}
        yield {"input_values": torch.randn(2, 1, 8000)}
    if "input_features" in names:
        own = ("num_mel_bins", "feature_size", "n_mels", "input_feat_per_channel", "feature_projection_input_dim")
        bands = _setting(config, *own) or 80
        yield {"input_features": torch.randn(2, bands, 3000)}
        yield {"input_features": torch.randn(2, 200, bands)}


def _images(names: Any, config: Any, generator: torch.Generator) -> Iterator[dict[str, Any]]:
    side = _side(_setting(config, "image_size", "input_size"))
    channels = _setting(config, "num_channels", "in_channels", "in_chans") or 3
    if "pixel_values" in names:
        for size in dict.fromkeys([side, 64, 224, 384]):
            if size:
                yield {"pixel_values": torch.rand(2, channels, size, size, generator=generator)}
        if "input_ids" not in names:
            frames = _setting(config, "num_frames") or 8
            yield {"pixel_values": torch.rand(1, frames, channels, side or 224, side or 224)}
    elif "pixel_values_videos" in names:
        frames = _setting(config, "frames_per_clip", "num_frames") or 8
        yield {"pixel_values_videos": torch.rand(1, frames, channels, side or 224, side or 224)}


def _side(size: Any) -> Any:
    if size is None or isinstance(size, int):
        return size
    return size.get("height") if isinstance(size, dict) else list(size)[-1]


def _series(names: Any, config: Any) -> Iterator[dict[str, Any]]:
    if "past_values" in names:
        length, width = _setting(config, "context_length") or 32, _setting(config, "num_input_channels") or 1
        yield {"past_values": torch.randn(2, length, width)}
