"""Histograms of magnitudes: every entry lands in the bin of its power of ten, large tensors are sampled, odd values are kept in bounds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import nnlint
from nnlint.probes.training_pass.histograms import BINS, HIGHEST, LOWEST, magnitudes, settled


def _counted(*tensors: torch.Tensor) -> list[tuple[int, ...]]:
    return settled([magnitudes(tensor) for tensor in tensors])


def _bin(value: float) -> int:
    return math.floor((math.log10(value) - LOWEST) * BINS / (HIGHEST - LOWEST))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_each_entry_lands_in_the_bin_of_its_magnitude(dtype: torch.dtype) -> None:
    values = [1.5, -1.5, 3e-7, 42.0]
    (counts,) = _counted(torch.tensor(values, dtype=dtype))
    assert {index: count for index, count in enumerate(counts) if count} == {
        _bin(1.5): 2,
        _bin(3e-7): 1,
        _bin(42.0): 1,
    }


def test_zeros_and_what_is_out_of_range_count_in_the_outer_bins() -> None:
    (counts,) = _counted(torch.tensor([0.0, 0.0, 1e-30, 1e9, math.inf, math.nan]))
    assert counts[0] == 3
    assert counts[-1] == 3
    assert sum(counts) == 6


def test_tensors_of_different_sizes_are_counted_apart_and_missing_ones_are_empty() -> None:
    made = settled([magnitudes(torch.ones(3)), None, magnitudes(torch.full((2, 2), 1e-3)), magnitudes(torch.empty(0))])
    assert [sum(counts) for counts in made] == [3, 0, 4, 0]
    assert made[1] == made[3] == ()
    assert made[0][_bin(1.001)] == 3


def test_a_large_tensor_is_sampled_fairly() -> None:
    images = torch.full((64, 16, 32, 32), 1.0)
    images[:, :, :, ::2] = 1e-3  # every other column
    (counts,) = _counted(images)
    assert 1000 < sum(counts) <= 4096
    assert counts[_bin(1.001)] / sum(counts) == pytest.approx(0.5, abs=0.05)
    columns = torch.full((64, 16, 32, 32), 1.0)
    columns[:, :, :, 0] = 0.0  # a border, one column in 32
    (counts,) = _counted(columns)
    assert counts[0] / sum(counts) == pytest.approx(1 / 32, abs=0.02)


def test_the_tensor_is_left_alone() -> None:
    values = torch.randn(5000, requires_grad=True)
    before = values.detach().clone()
    _counted(values)
    assert torch.equal(values.detach(), before)


def test_every_layer_of_the_table_has_its_histograms_a_matrix_product_with_a_parameter_too() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x @ self.weight) + x

    setup = {"model": Product(), "inputs": torch.randn(8, 4), "targets": torch.randn(8, 4), "loss": nn.MSELoss()}
    report = nnlint.check(setup, details=True, select=("SIG", "GRD"))
    rows = report.results[0].measurements["layers"]
    assert [row["op"] for row in rows] == ["matmul", "relu"]
    assert all({"activation", "gradient"} <= set(row["histograms"]) for row in rows)
