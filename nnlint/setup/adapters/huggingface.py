"""Example inputs of Hugging Face models, guessed from the signature of `forward` and the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from nnlint.setup.inputs.fake_run import Trial
from nnlint.setup.inputs.model_hints import Hint
from nnlint.setup.inputs.signature import ForwardSignature, base_of
from nnlint.setup.training_setup import TrainingSetup

_LENGTH = 16
_AUDIO_SAMPLES = 16000


def is_huggingface(model: object) -> bool:
    """Whether the model follows the conventions of `transformers.PreTrainedModel`, told without importing it."""
    if not isinstance(model, nn.Module):
        return False
    model = base_of(model)
    return hasattr(type(model), "main_input_name") and callable(
        getattr(getattr(model, "config", None), "to_dict", None)
    )


def huggingface_changes(setup: TrainingSetup) -> dict[str, Any]:
    """Fields of a setup that follow from its transformers model: a decoder is causal, the model takes its own labels.

    Fields that the user set stay as they are.
    """
    changes = {
        name: value for name, value in _traits(base_of(setup.model)).items() if name not in setup.model_fields_set
    }
    takes = setup.loss is None and setup.own_loss is None and "labels" in ForwardSignature.of(setup.model).names
    if takes and isinstance(setup.targets, torch.Tensor) and setup.inputs is not None:
        inputs = setup.inputs
        if isinstance(inputs, torch.Tensor):
            inputs = {str(getattr(setup.model, "main_input_name", "input_ids")): inputs}
        if isinstance(inputs, Mapping) and "labels" not in inputs:
            changes["inputs"] = {**inputs, "labels": setup.targets}
    return changes


def _traits(model: nn.Module) -> dict[str, Any]:
    """What the model's abilities and its configuration say of the task."""
    if not _writes_text(model):
        return {}
    # Being able to write does not tell: BertLMHeadModel sees both ways unless its configuration makes it a decoder.
    masked = any(getattr(module, "is_causal", False) is True for module in model.modules())
    return {"task": "language-modeling", "causal": masked}


def _writes_text(model: nn.Module) -> bool:
    """Whether the model generates the continuation of a text, by itself: no encoder beside it, no pictures, one head of words."""
    config, generates, head = (getattr(model, name, None) for name in ("config", "can_generate", "get_output_embeddings"))
    if not callable(generates) or not callable(head) or getattr(config, "is_encoder_decoder", False):
        return False
    if any(name.endswith("_config") and name != "text_config" for name in getattr(config, "sub_configs", None) or ()):
        return False  # one of several parts reads text
    return bool(generates()) and head() is not None


def expected_missing(model: nn.Module, name: str) -> bool:
    """Whether a checkpoint of a transformers model need not hold this tensor: derived, or kept under another name."""
    patterns = getattr(model, "_keys_to_ignore_on_load_missing", None) or ()
    return any(re.search(str(pattern), name) for pattern in patterns)


def expected_unexpected(model: nn.Module, name: str) -> bool:
    """Whether a checkpoint of a transformers model may hold this tensor although the model has none of the name."""
    patterns = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    return any(re.search(str(pattern), name) for pattern in patterns)


def huggingface_hints(model: nn.Module, samples: int) -> Iterator[Hint]:
    """Inputs to try, likeliest first: each with labels, so that the model computes its own loss, then without."""
    model = base_of(model)
    # Only a trial tells how spectrograms and clips come, and whether a text has to end with its end token.
    for guesser in _variants(model, samples):
        for names in guesser.combinations():
            for labelled in (True, False):
                if (labelled and not guesser.takes_labels) or not guesser.differs(names):
                    continue
                yield guesser.hint(names, labelled=labelled)


def _variants(model: nn.Module, samples: int) -> Iterator[_Guesser]:
    """The readings of a configuration, likeliest first."""
    plain = _Guesser(model, samples)
    frames = plain.setting("num_frames")
    if isinstance(frames, int) and frames > 1:
        yield replace(plain, frames=frames)
    yield plain
    yield replace(plain, bands_first=True)
    if isinstance(plain.setting("eos_token_id"), int):
        yield replace(plain, ended=True)


@dataclass(frozen=True)
class _Guesser:
    model: nn.Module
    samples: int
    bands_first: bool = False
    frames: int = 0
    ended: bool = False

    def differs(self, names: tuple[str, ...]) -> bool:
        """Whether these arguments look otherwise in this reading than in the plain one."""
        if self.bands_first:
            return "input_features" in names
        if self.frames:
            return "pixel_values" in names
        return not self.ended or any(name.endswith("input_ids") for name in names)

    @property
    def names(self) -> tuple[str, ...]:
        return ForwardSignature.of(self.model).names

    @property
    def takes_labels(self) -> bool:
        return "labels" in self.names or "start_positions" in self.names

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """Sets of arguments to try: the main input first, then with the other modality or the decoder's input."""
        main = str(getattr(self.model, "main_input_name", "input_ids"))
        required = tuple(name for name in ForwardSignature.of(self.model).required if name != main)
        known = [name for name in ("input_ids", "pixel_values", "input_values", "input_features") if name in self.names]
        first = main if main in self.names else next(iter(known), "")
        decoder = ("decoder_input_ids",) if "decoder_input_ids" in self.names else ()
        tried = [
            (first, *required),
            (first, *decoder, *required),
            tuple(known[:2]),
            *((name, *required) for name in known if name != first),
        ]
        yield from dict.fromkeys(names for names in tried if names and names[0])

    def hint(self, names: tuple[str, ...], *, labelled: bool) -> Hint:
        def make(generator: torch.Generator) -> dict[str, torch.Tensor]:
            batch = {name: self._value(name, generator) for name in dict.fromkeys(names)}
            return {**batch, **self._labels(batch, generator)} if labelled else batch

        targets = _targets if labelled else None
        return Hint(make, "noise guessed from the model's configuration", targets)

    def _value(self, name: str, generator: torch.Generator) -> torch.Tensor:
        if name.endswith("input_ids"):
            return self._token_ids(generator)
        if name == "pixel_values":
            return torch.randn(self._image_shape(), generator=generator)
        if name == "input_features":
            length = 2 * int(self.setting("max_source_positions") or 64)
            bands = self.setting("num_mel_bins", "input_feat_per_channel", "feature_size")
            shape = (int(bands or 80), length) if self.bands_first else (length, int(bands or 80))
            return torch.randn((self.samples, *shape), generator=generator)
        if name == "input_values":
            return torch.randn((self.samples, *self._audio_shape()), generator=generator)
        if name.endswith("mask"):
            return torch.ones(self.samples, _LENGTH, dtype=torch.int64)
        return torch.randn((self.samples, _LENGTH), generator=generator)

    def _token_ids(self, generator: torch.Generator) -> torch.Tensor:
        size = int(self.setting("vocab_size") or 100)
        # The lowest ids are special tokens (padding, masks) in most vocabularies: some models treat them apart.
        ids = torch.randint(min(10, size // 2), size, (self.samples, _LENGTH), generator=generator)
        end = self.setting("eos_token_id")
        special = {self.setting(name) for name in ("pad_token_id", "eos_token_id", "image_token_id", "video_token_id")}
        for token in special:
            if isinstance(token, int):
                ids[ids == token] = size // 2 + (size // 2 in special)
        if self.ended and isinstance(end, int) and 0 <= end < size:
            ids[:, -1] = end
        return ids

    def _image_shape(self) -> tuple[int, ...]:
        size = self.setting("image_size", "img_size", "input_size")
        if isinstance(size, Mapping):
            size = [size.get("height", 224), size.get("width", 224)]
        sides = list(size)[-2:] if isinstance(size, (tuple, list)) else [int(size or 224)] * 2
        channels = int(self.setting("num_channels", "in_channels", "in_chans") or 3)
        clip = (self.frames,) if self.frames else ()
        return (self.samples, *clip, channels, *(int(side) for side in sides))

    def _audio_shape(self) -> tuple[int, ...]:
        bands = self.setting("num_mel_bins")
        length = self.setting("max_length")
        return (int(length), int(bands)) if bands and length and length > bands else (_AUDIO_SAMPLES,)

    def _labels(self, batch: Mapping[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Labels of the form that the logits ask for: of samples, tokens, positions or pixels."""
        classes = max(int(self.setting("num_labels") or 2), 2)

        def integers(*shape: int, high: int = classes) -> torch.Tensor:
            return torch.randint(0, high, (self.samples, *shape), generator=generator)

        if "start_positions" in self.names:
            return {"start_positions": integers(high=_LENGTH), "end_positions": integers(high=_LENGTH)}
        shape = self._logits(batch)
        if len(shape) == 2:
            if self.setting("num_labels") == 1:
                return {"labels": torch.randn(self.samples, generator=generator)}
            if self.setting("problem_type") == "multi_label_classification":
                return {"labels": integers(classes, high=2).float()}
            return {"labels": integers()}
        ids, size = batch.get("input_ids"), int(self.setting("vocab_size") or 0)
        # A decoder without ids of its own takes them from the labels, and gives no logits without.
        if (len(shape) == 3 and shape[-1] == size) or (not shape and "decoder_input_ids" in self.names):
            if ids is None and self.setting("ctc_loss_reduction") is not None:
                return {"labels": 1 + integers(8, high=max(size - 1, 1))}
            return {"labels": self._token_ids(generator) if ids is None else ids.clone()}
        if len(shape) == 4 and "pixel_values" in batch:
            return {"labels": integers(*batch["pixel_values"].shape[-2:])}
        return {"labels": integers(_LENGTH)}

    def _logits(self, batch: Mapping[str, torch.Tensor]) -> tuple[int, ...]:
        """Shape of the logits that the model gives for these inputs, with some labels where it gives none without; empty if neither."""
        guesses = [tensor for tensor in (batch.get("input_ids"), torch.zeros(self.samples, dtype=torch.int64)) if tensor is not None]
        try:
            trial = Trial(self.model)
        except Exception:  # the model's own deep copy raises: nothing can be tried
            return ()
        for labels in ({}, *({"labels": guess} for guess in guesses)):
            output = trial.run({**batch, **labels}).output
            found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
            if isinstance(found, torch.Tensor):
                return tuple(found.shape)
        return ()

    def setting(self, *names: str) -> Any:
        """The first of these settings in the configuration, or in those of its parts (text, vision, encoder)."""
        config = self.model.config
        parts = [value for value in vars(config).values() if callable(getattr(value, "to_dict", None))]
        for source in (config, *parts):
            for name in names:
                value = getattr(source, name, None)
                if value is not None:
                    return value
        return None


def _targets(inputs: Mapping[str, torch.Tensor]) -> Any:
    """The labels among the inputs, also as targets: the evidence about targets reads them there."""
    if "labels" in inputs:
        return inputs["labels"]
    return {name: inputs[name] for name in ("start_positions", "end_positions")}
