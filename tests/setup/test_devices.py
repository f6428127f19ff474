"""Where the batch is put when the model is on an accelerator; fake tensors stand for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nnlint.setup.complete import complete
from nnlint.setup.options import SetupOptions
from nnlint.setup.training_setup import TrainingSetup
from nnlint.tensors import beside


@pytest.fixture(autouse=True)
def fake() -> Iterator[None]:
    with FakeTensorMode():
        yield


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, 4, device="cuda"))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        return x @ self.weight.T


def completed(*inputs: torch.Tensor, model: nn.Module | None = None) -> TrainingSetup:
    fields = {"inputs": inputs, "targets": torch.zeros(8), "loss": lambda output, target: output.sum()}
    return complete(TrainingSetup(model=model or Net(), **fields), SetupOptions())


def test_a_batch_on_the_cpu_goes_to_the_model() -> None:
    setup = completed(torch.zeros(8, 4))
    assert setup.inputs[0].device == setup.targets.device == torch.device("cuda:0")
    assert setup.assumptions == ("the batch is moved to cuda:0, where the model is",)


def test_a_batch_on_two_devices_stays_where_it_is() -> None:
    setup = completed(torch.zeros(8, 4, device="cuda"), torch.zeros(8))
    assert [tensor.device.type for tensor in setup.inputs] == ["cuda", "cpu"]
    assert setup.assumptions == ()


def test_lengths_stay_where_packing_wants_them() -> None:
    class Packed(Net):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
            if lengths is not None and lengths.device.type != "cpu":
                raise RuntimeError("'lengths' argument should be a 1D CPU int64 tensor, but got 1D cuda:0 Long tensor")
            return super().forward(x)

    setup = completed(torch.zeros(8, 4), torch.zeros(8, dtype=torch.int64), model=Packed())
    assert [tensor.device.type for tensor in setup.inputs] == ["cuda", "cpu"]
    assert setup.targets.device.type == "cuda"
    masked = completed(torch.zeros(8, 4), torch.zeros(8, dtype=torch.int64))
    assert [tensor.device.type for tensor in masked.inputs] == ["cuda", "cuda"]


def test_further_batches_follow_the_first() -> None:
    there, batch = torch.zeros(2, device="cuda"), [torch.zeros(3), {"y": torch.zeros(3)}]
    assert beside(there, batch)[1]["y"].device == there.device
    assert beside(torch.zeros(2), batch) is batch
    assert beside((), batch) is batch
    assert beside(torch.zeros(2, device="meta"), batch) is batch
