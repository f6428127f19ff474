"""Hashes of samples: one for each sample, the same bits the same number, in any batch and any dtype."""

from __future__ import annotations

import pytest
import torch

from nnlint_rules.data import _samples
from nnlint_rules.data._samples import _hashes

GENERATOR = torch.Generator().manual_seed(0)


def drawn(dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """Numbers that seldom repeat within a sample."""
    return (torch.randn(shape, generator=GENERATOR) * 50).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.int64, torch.complex64])
@pytest.mark.parametrize("shape", [(9, 3, 5), (9, 13), (9,)])
def test_a_sample_keeps_its_hash_in_another_batch(dtype, shape, monkeypatch) -> None:
    samples = drawn(dtype, shape)
    alone = [int(_hashes(samples[index : index + 1])) for index in range(9)]
    monkeypatch.setattr(_samples, "_CHUNK", 4)
    assert _hashes(samples).tolist() == alone


def test_flags_are_hashed_bit_by_bit() -> None:
    flags = torch.eye(12, dtype=torch.bool)
    assert len(set(_hashes(torch.cat([flags, flags])).tolist())) == 12


def test_only_equal_samples_share_a_hash() -> None:
    samples = torch.randn(20_000, 9, generator=GENERATOR)
    samples[19_999] = samples[3]
    hashes = _hashes(samples)
    assert len(set(hashes.tolist())) == 19_999
    assert hashes[3] == hashes[19_999]
    assert hashes[3] != _hashes(torch.nextafter(samples[3:4], samples.new_tensor(9.0)))
