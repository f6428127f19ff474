"""Calls that raised for an index or for a single value: what they were asked for."""

from __future__ import annotations

import pytest
import torch

from nnlint.capture.lookups import refused_lookup
from nnlint.capture.refused_norms import refused_norm

ROWS = torch.zeros(4, 5, 6)
HIGH = torch.tensor([0, 7])


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "expected"),
    [
        ("gather", (ROWS, 1, HIGH[None, :, None]), {}, (5, 1)),
        ("gather", (ROWS,), {"dim": -1, "index": HIGH[None, None]}, (6, 2)),
        ("index_select", (ROWS, 0, HIGH), {}, (4, 0)),
        ("index_add", (ROWS, 1, HIGH, ROWS[:, :2]), {}, (5, 1)),
        ("scatter", (ROWS, 2, HIGH[None, None], 1.0), {}, (6, 2)),
        ("take_along_dim", (ROWS, HIGH[None, :, None], 1), {}, (5, 1)),
        ("getitem", (ROWS, HIGH), {}, (4, 0)),
        ("getitem", (ROWS, (slice(None), HIGH)), {}, (5, 1)),
        ("getitem", (ROWS, (Ellipsis, HIGH)), {}, (6, 2)),
        ("getitem", (ROWS, (None, torch.ones(4, 5, dtype=torch.bool), HIGH)), {}, (6, 2)),
        ("setitem", (ROWS, (torch.tensor([0, 1]), HIGH), 1.0), {}, (5, 1)),
        ("index_put", (ROWS, (torch.tensor([0, 1]), HIGH), torch.tensor(1.0)), {}, (5, 1)),
        ("take", (torch.zeros(3), HIGH), {}, (3, 0)),
        ("one_hot", (HIGH, 5), {}, (5, None)),
        ("one_hot", (torch.tensor([-1, 2]),), {}, (3, None)),
        ("embedding", (torch.zeros(4, 2), HIGH), {}, (4, None)),
    ],
)
def test_lookup(name, args, kwargs, expected) -> None:
    found = refused_lookup(name, args, kwargs, None, None)
    assert found is not None
    assert (found.rows, found.axis) == expected
    assert found.outside == 1


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("gather", (ROWS, 1, torch.tensor([[[0], [4]]]))),
        ("getitem", (ROWS, torch.tensor([-1, 3]))),
        ("getitem", (ROWS, 2)),
        ("getitem", ((1, 2), 5)),
        ("add", (ROWS, HIGH)),
        ("gather", (ROWS, 1, torch.zeros(1, 2, 1, dtype=torch.int64, device="meta"))),
    ],
)
def test_no_index_is_outside(name, args) -> None:
    assert refused_lookup(name, args, {}, None, None) is None


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("batch_norm", (1, 8), 1),
        ("batch_norm", (1, 8, 1, 1), 1),
        ("instance_norm", (16, 8, 1, 1), 1),
        ("group_norm", (1, 8), 1),
        ("batch_norm", (2, 8), None),
        ("instance_norm", (1, 8, 2), None),
        ("relu", (1, 8), None),
    ],
)
def test_norm(name, shape, expected) -> None:
    found = refused_norm(name, (torch.zeros(shape),), {}, None, None)
    assert (found.positions if found is not None else None) == expected
