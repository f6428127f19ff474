"""A tokenizer or vocabulary beside a model says which id is padding."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nnlint.setup import coerce

NET = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(32, 2))
IDS = torch.randint(0, 20, (8, 4))


class Raises:
    @property
    def pad_token_id(self):
        raise RuntimeError("no padding token")


def tokenizers_of_rust(token):
    return {"<pad>": 3}.get(token)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("tokenizer", SimpleNamespace(pad_token_id=3), 3),
        ("processing_class", SimpleNamespace(pad_token_id=0), 0),
        ("processor", SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=3)), 3),
        ("tokenizer", SimpleNamespace(pad_id=lambda: 3), 3),
        ("tokenizer", SimpleNamespace(pad_id=lambda: -1), None),
        ("tokenizer", SimpleNamespace(token_to_id=tokenizers_of_rust), 3),
        ("tokenizer", SimpleNamespace(padding={"pad_id": 3}), 3),
        ("vocab", {"[PAD]": 3, "a": 4}, 3),
        ("vocabulary", SimpleNamespace(get_stoi=lambda: {"<pad>": 3}), 3),
        ("tokenizer", SimpleNamespace(pad_token_id=None), None),
        ("tokenizer", Raises(), None),
        ("tokenizer", None, None),
    ],
)
def test_padding_of_a_tokenizer(key, value, expected) -> None:
    assert coerce({"model": NET, "inputs": IDS, key: value}).pad_id == expected


def test_what_the_setup_says_goes_first() -> None:
    setup = coerce({"model": NET, "inputs": IDS, "pad_id": 5, "tokenizer": SimpleNamespace(pad_token_id=3)})
    assert setup.pad_id == 5
