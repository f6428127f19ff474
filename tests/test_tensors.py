"""One walker and one mapper over tensors in nested structures."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from nnlint.tensors import holds_list, map_tensors, move, named_tensors, tensor_leaves, tensors_in

A, B = torch.ones(1), torch.full((2,), 2.0)


class Pair(NamedTuple):
    first: torch.Tensor
    second: Any


@dataclass
class Output:
    logits: torch.Tensor
    hidden: Any = None


class Graph:
    """A plain object, as graph libraries batch with."""

    def __init__(self) -> None:
        self.x, self.edges = A, [B]


class Encoding(collections.UserDict):  # type: ignore[type-arg]
    """Like transformers' BatchEncoding: a mapping with methods."""

    def to(self, device: Any) -> Encoding:
        return Encoding({**self.data, "moved": device})


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (A, ["x"]),
        ({"mask": A, "ids": [B]}, ["x['mask']", "x['ids'][0]"]),
        (Pair(A, (B,)), ["x[0]", "x[1][0]"]),
        (Output(A, {"h": B}), ["x.logits", "x.hidden['h']"]),
        (Graph(), ["x.x", "x.edges[0]"]),
        (Encoding(a=A, b=B), ["x['a']", "x['b']"]),
        ([None, 3, "text", nn.Linear(2, 2), torch.relu], []),
        (nn.LazyLinear(3).weight, []),
    ],
)
def test_walking(value: Any, names: list[str]) -> None:
    found = list(named_tensors(value, "x"))
    assert [name for name, _ in found] == names
    assert [id(tensor) for _, tensor in found] == [id(tensor) for tensor in tensors_in(value)]
    assert len(list(tensor_leaves(value))) == len(names)


def test_a_structure_that_holds_itself_ends() -> None:
    loop: list[Any] = [A]
    loop.append(loop)
    assert len(list(tensors_in(loop))) == 6


@pytest.mark.parametrize(
    "value",
    [
        (A, [B, {"k": A}]),
        Pair(A, (B,)),
        collections.OrderedDict(b=A, a=B),
        collections.defaultdict(list, a=A),
        Encoding(a=A),
    ],
)
def test_mapping_keeps_the_structure(value: Any) -> None:
    doubled = map_tensors(lambda tensor: tensor * 2, value)
    assert type(doubled) is type(value)
    assert [float(t[0]) for t in tensors_in(doubled)] == [2 * float(t[0]) for t in tensors_in(value)]
    assert doubled is not value
    assert float(A) == 1.0
    assert all(tensor is A or tensor is B for tensor in tensors_in(value))


def test_an_object_with_a_way_of_its_own_moves_itself() -> None:
    assert move(Encoding(a=A), "cpu")["moved"] == "cpu"
    packed = nn.utils.rnn.pack_sequence([torch.zeros(3, 2), torch.zeros(2, 2)])
    assert type(move(packed, "cpu")) is type(packed)


def test_lists_of_tensors_are_samples_of_several_sizes() -> None:
    assert holds_list(([A, B], {}))
    assert holds_list({"images": [A]})
    assert not holds_list(({"a": A}, [1, 2]))
