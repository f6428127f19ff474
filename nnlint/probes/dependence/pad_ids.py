"""Which ids are declared to be padding: by an embedding's `padding_idx`, or by a configuration."""

from __future__ import annotations

from typing import Any

from torch import nn

from nnlint.probes.dependence.padded import PadIds


def pad_ids(model: nn.Module, declared: int | None = None) -> PadIds:
    """The ids that are declared, and those that the model's embeddings and configuration name."""
    known: dict[int, str] = {declared: "declared as pad_id"} if declared is not None else {}
    for path, module in model.named_modules():
        index = getattr(module, "padding_idx", None)
        # An embedding of a few rows is one of segments or types: its first row is no word.
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and isinstance(index, int):
            known.setdefault(index, f"padding_idx of {path}" if path else "padding_idx")
    config = getattr(model, "config", None)
    for number in _numbers(getattr(config, "pad_token_id", None)):
        known.setdefault(number, "pad_token_id of the configuration")
    ends = [*_numbers(getattr(config, "eos_token_id", None)), *_numbers(getattr(config, "sep_token_id", None))]
    return PadIds(known, frozenset(ends))


def _numbers(value: Any) -> tuple[int, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(number for number in value if isinstance(number, int))
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else ()
