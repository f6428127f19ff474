"""A tokenizer or vocabulary beside a model: which id it pads with, told by what it offers, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Keys that a tokenizer is given under.
TOKENIZER_KEYS = ("tokenizer", "processing_class", "processor", "vocab", "vocabulary")
#: Names of the id (transformers, sentencepiece, tokenizers written by hand), as an attribute or a method.
_NAMES = ("pad_token_id", "pad_id", "pad_idx", "padding_idx", "padding_id")
#: How padding is spelled in a vocabulary.
_TOKENS = ("[PAD]", "<pad>", "<PAD>", "<|pad|>", "<blank>", "PAD", "pad")


def pad_id_of(parts: Mapping[str, Any]) -> int | None:
    """The id of the first tokenizer among the parts of a setup; None where there is none, or where it names no padding."""
    tokenizers = (parts[key] for key in TOKENIZER_KEYS if parts.get(key) is not None)
    return next((found for tokenizer in tokenizers for found in _ids(tokenizer)), None)


def _ids(tokenizer: Any) -> Iterator[int]:
    """The ids of padding that a tokenizer tells; those of the tokenizer inside a processor come last."""
    for name in _NAMES:
        yield from _as_id(_asked(lambda name=name: getattr(tokenizer, name)))
    settings = _asked(lambda: tokenizer.padding)
    if isinstance(settings, Mapping):
        yield from _as_id(settings.get("pad_id"))
    for token in _TOKENS:
        if isinstance(tokenizer, Mapping):
            yield from _as_id(tokenizer.get(token))
        elif callable(getattr(tokenizer, "token_to_id", None)):
            yield from _as_id(_asked(lambda token=token: tokenizer.token_to_id(token)))
        elif callable(getattr(tokenizer, "get_stoi", None)):
            yield from _as_id(_asked(tokenizer.get_stoi).get(token))
    inner = _asked(lambda: tokenizer.tokenizer)
    if inner is not None and inner is not tokenizer:
        yield from _ids(inner)


def _asked(read: Any) -> Any:
    """What the tokenizer answers; None where it raises: a property of user code may raise anything."""
    try:
        found = read()
        return found() if callable(found) else found
    except Exception:
        return None


def _as_id(value: Any) -> Iterator[int]:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        yield value
