"""What is advised where torch's own message tells the cause."""

from __future__ import annotations

import pytest

from nnlint.failure import not_restored
from nnlint.probes.torch_errors import likely_cause

ASSERTED = "CUDA error: device-side assert triggered\nSearch for `cudaErrorAssert' in the documentation of CUDA"


@pytest.mark.parametrize(
    "message",
    [
        "Expected all tensors to be on the same device, but got mat1 is on cuda:0, different from other tensors on cpu",
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
        "expected self and mask to be on the same device, but got mask on cpu and self on cuda:0",
        "indices should be either on cpu or on the same device as the indexed tensor (cpu)",
        "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same or input should be",
        "Input type (torch.cuda.HalfTensor) and weight type (torch.FloatTensor) should be the same",
    ],
)
def test_tensors_of_two_devices(message: str) -> None:
    assert likely_cause(RuntimeError(message)).startswith("tensors of two devices meet")


@pytest.mark.parametrize("device", ["", "cuda."])
def test_dtypes_that_differ_on_one_device(device: str) -> None:
    message = f"Input type (torch.{device}HalfTensor) and weight type (torch.{device}FloatTensor) should be the same"
    assert likely_cause(RuntimeError(message)).startswith("input and weights differ in dtype")


def test_an_assertion_in_a_kernel() -> None:
    assert "--device cpu" in likely_cause(RuntimeError(ASSERTED))
    failure = not_restored(f"could not restore the model's state: {ASSERTED}", "")
    assert "--device cpu" in (failure.fix or "")
    assert "\n" not in failure.message


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("Inference tensors cannot be saved for backward. To work around you can make a clone", "make it outside"),
        ("maximum recursion depth exceeded while calling a Python object", "never self(x)"),
    ],
)
def test_what_else_torch_and_python_say(message: str, advice: str) -> None:
    assert advice in likely_cause(RuntimeError(message))
