"""Calls with arguments out of range raise before a CUDA kernel can assert: what the CPU raises, and only then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nnlint.capture.bounds import refuse, within_bounds
from nnlint.kinds import canonical

ROWS = torch.arange(12.0).reshape(4, 3)


def ids(*numbers: int) -> Tensor:
    return torch.tensor(numbers)


#: A function, arguments that it takes, and arguments that it does not.
CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]] = {
    "cross_entropy": (F.cross_entropy, (ROWS, ids(0, 1, 2, -100)), (ROWS, ids(0, 1, 2, 3))),
    "nll_loss": (F.nll_loss, (ROWS, ids(0, 1, 2, 0)), (ROWS, ids(0, 1, 2, -5))),
    "soft labels": (F.cross_entropy, (ROWS, ROWS.softmax(1)), (ROWS, ids(9, 0, 0, 0))),
    "binary_cross_entropy": (F.binary_cross_entropy, (ROWS / 12, ROWS / 12), (ROWS, ROWS / 12)),
    "target of binary_cross_entropy": (F.binary_cross_entropy, (ROWS / 12, ROWS / 12), (ROWS / 12, ROWS)),
    "multi_margin_loss": (F.multi_margin_loss, (ROWS, ids(0, 1, 2, 0)), (ROWS, ids(0, 1, 2, 3))),
    "embedding": (F.embedding, (ids(3), ROWS), (ids(4), ROWS)),
    "embedding_bag": (F.embedding_bag, (ids(3)[None], ROWS), (ids(4)[None], ROWS)),
    "one_hot": (F.one_hot, (ids(0, 2), 3), (ids(0, 3), 3)),
    "negative one_hot": (F.one_hot, (ids(0, 2),), (ids(0, -1),)),
    "getitem": (Tensor.__getitem__, (ROWS, ids(-4, 3)), (ROWS, ids(-5))),
    "index_select": (torch.index_select, (ROWS, 0, ids(3)), (ROWS, 0, ids(4))),
    "gather": (torch.gather, (ROWS, 1, ids(2)[None]), (ROWS, 1, ids(3)[None])),
    "scatter": (torch.scatter, (ROWS, 1, ids(2)[None], 1.0), (ROWS, 1, ids(-1)[None], 1.0)),
    "take": (torch.take, (ROWS, ids(11)), (ROWS, ids(12))),
    "multinomial": (torch.multinomial, (ROWS[1:], 1), (-ROWS, 1)),
    "nothing to draw": (torch.multinomial, (ROWS[1:], 1), (ROWS * 0, 1)),
    "bernoulli": (torch.bernoulli, (ROWS / 12,), (ROWS,)),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_the_cpu_raises(name: str) -> None:
    function, fitting, outside = CALLS[name]
    operation = canonical(function.__name__)
    refuse(function, operation, fitting, {})
    with pytest.raises((IndexError, RuntimeError)) as plain:
        function(*outside)
    with pytest.raises(type(plain.value)) as refused:
        refuse(function, operation, outside, {})
    assert str(refused.value) == str(plain.value)


def test_a_label_that_is_passed_over_by_position() -> None:
    refuse(F.cross_entropy, "cross_entropy", (ROWS, ids(0, 1, 2, 7), None, None, 7), {})


def test_what_the_cpu_takes_is_not_refused() -> None:
    refuse(F.nll_loss, "nll_loss", (ROWS, ids(0, 1, 2, 7)), {"ignore_index": 7})
    with pytest.raises(IndexError, match="take_along_dim is out of range"):
        refuse(torch.take_along_dim, "take_along_dim", (ROWS, ids(9)[None], 1), {})


class OnDevice(Tensor):
    """Stands for a CUDA tensor, whose kernels would not raise."""

    is_cuda = True


def test_calls_on_the_device_raise_before_they_run() -> None:
    scores = torch.zeros(2, 3).as_subclass(OnDevice).requires_grad_()
    ran: list[str] = []

    class Kernels(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if any(arg is scores for arg in args):  # not the copies on the CPU
                ran.append(func.__name__)
            return func(*args, **(kwargs or {}))

    with Kernels(), within_bounds([scores]):
        with pytest.raises(IndexError, match="Target 3 is out of bounds"):
            F.cross_entropy(scores, ids(0, 3))
        assert "cross_entropy" not in ran
        F.cross_entropy(scores, ids(0, 2))
    assert "cross_entropy" in ran


def test_other_devices_are_not_watched() -> None:
    before = torch.overrides._len_torch_function_stack()
    with within_bounds([ROWS]):
        assert torch.overrides._len_torch_function_stack() == before
