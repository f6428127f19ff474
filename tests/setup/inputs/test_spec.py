"""`--input`, and which source of inputs wins."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nnlint.setup import SetupError, SetupOptions, coerce
from nnlint.setup.inputs.spec import InputSpec, make_inputs, parse_input


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("3x32x32", InputSpec((3, 32, 32))),
        ("16x20:int<1000>", InputSpec((16, 20), torch.int64, 1000)),
        ("x=3x32x32", InputSpec((3, 32, 32), name="x")),
        ("16:bool", InputSpec((16,), torch.bool)),
        ("16:float", InputSpec((16,))),
        ("16:int", InputSpec((16,), torch.int64)),
        ("16:int64<7>", InputSpec((16,), torch.int64, 7)),
        ("16:uint8<256>", InputSpec((16,), torch.uint8, 256)),
        ("16:bfloat16", InputSpec((16,), torch.bfloat16)),
        ("t=:int<1000>", InputSpec((), torch.int64, 1000, "t")),
        (" 4 ", InputSpec((4,))),
    ],
)
def test_input_specifications(text, spec):
    assert parse_input(text) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected [name=]DIMS[:TYPE]"),
        ("x=", "expected [name=]DIMS[:TYPE]"),
        ("3xx4", "a dimension is missing beside an 'x'"),
        ("3x", "a dimension is missing"),
        ("3x-1", "'-1' is not a dimension"),
        ("3x0", "'0' is not a dimension (a whole number above zero)"),
        ("3,32,32", "'3,32,32' is not a dimension"),
        ("3:complex", "unknown type 'complex'; known: float, int, bool"),
        ("3:int<", "unknown type 'int<'"),
        ("3:int<x>", "unknown type"),
        ("3:float<5>", "<5> goes with integer types only"),
        ("3:bool<2>", "goes with integer types only"),
        ("3:int<0>", "<0> is outside the range of int"),
        ("3:uint8<257>", "<257> is outside the range of uint8"),
        ("a=b=3", "expected"),
    ],
)
def test_malformed_specifications(text, message):
    with pytest.raises(SetupError) as caught:
        parse_input(text)
    assert caught.value.code == "RUN001"
    assert message in caught.value.message
    assert repr(text) in caught.value.message
    assert "3x32x32, 16:int<1000>" in caught.value.fix


@given(st.lists(st.integers(1, 5), max_size=4), st.integers(1, 9), st.integers(0, 100))
def test_made_values_have_the_shape_and_range(shape, high, seed):
    spec = InputSpec(tuple(shape), torch.int64, high)
    made = spec.make(3, torch.Generator().manual_seed(seed))
    assert made.shape == (3, *shape)
    assert 0 <= int(made.min()) <= int(made.max()) < high
    assert torch.equal(made, spec.make(3, torch.Generator().manual_seed(seed)))


def made(*specs, names=("x", "mask")):
    return make_inputs(specs, names, 2, torch.Generator().manual_seed(0))


def test_inputs_take_the_form_of_the_call():
    assert made("3").shape == (2, 3)
    assert [t.shape for t in made("3", "4")] == [(2, 3), (2, 4)]
    assert {k: tuple(v.shape) for k, v in made("mask=4:bool", "3").items()} == {"mask": (2, 4), "x": (2, 3)}
    with pytest.raises(SetupError, match="forward\\(\\) has no argument left"):
        made("x=3", "mask=3", "3")
    with pytest.raises(SetupError, match="the argument 'x' was given twice"):
        made("x=3", "x=3")


# ---------------------------------------------------------------- order of the sources


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 3)

    def forward(self, x):
        return self.body(x)


def test_the_order_of_the_sources():
    own = torch.zeros(1, 4)
    options = SetupOptions(inputs=("5x4",), default_inputs=("6x4",))
    replaced = coerce({"model": Net(), "inputs": own, "targets": own}, options)
    assert replaced.inputs.shape == (8, 5, 4)
    assert replaced.targets is None
    assert replaced.inputs_assumed
    assert "given by --input" in replaced.assumptions[0]
    configured = SetupOptions(default_inputs=("6x4",))
    assert coerce({"model": Net(), "inputs": own}, configured).inputs is own
    assert coerce({"model": Net(), "data": [own]}, configured).inputs is own
    assert coerce(Net(), configured).inputs.shape == (8, 6, 4)
    assert "given by the configuration" in coerce(Net(), configured).assumptions[0]
    assert coerce(Net()).inputs.shape == (8, 4)


def test_the_seed_decides_the_values():
    values = [coerce(Net(), SetupOptions(seed=seed)).inputs for seed in (1, 1, 2)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
