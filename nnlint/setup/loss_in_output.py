"""The loss that a model computes itself and returns: in an output of its own kind, or beside its prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nnlint.setup.errors import LossTypeError
from nnlint.tensors import describe, is_scalar


def loss_in_output(output: Any) -> torch.Tensor | None:
    """The loss that a model put into its own output, or None."""
    if isinstance(output, Mapping):
        if isinstance(output.get("loss"), torch.Tensor):
            return as_loss(output["loss"])
        losses = list(output.values())
        if losses and all(is_scalar(value) and value.is_floating_point() for value in losses):
            return torch.stack(losses).sum()
    found = getattr(output, "loss", None)
    return as_loss(found) if isinstance(found, torch.Tensor) else None


def loss_beside(output: Any) -> torch.Tensor | None:
    """The loss of a model that was given targets and returns it beside its prediction: `(logits, loss)`; None if unclear.

    It is computed from a prediction that is returned as well, or is all that is returned. Of several such scalars (the loss
    and its terms) it is the one that is computed from all the others.
    """
    if is_scalar(output):
        return output if output.is_floating_point() and output.requires_grad else None
    values = list(output.values()) if isinstance(output, Mapping) else output
    parts = [part for part in values if isinstance(part, torch.Tensor)] if isinstance(values, (tuple, list)) else []
    scalars = [part for part in parts if is_scalar(part) and part.is_floating_point()]
    trained = [part for part in scalars if part.requires_grad] or scalars
    predictions = [part for part in parts if part.requires_grad and not is_scalar(part)]
    if len(trained) == 1 and trained[0].requires_grad and predictions:
        behind = _behind(trained[0])
        return trained[0] if any(part.grad_fn in behind for part in predictions) else None
    if len(trained) < 2 or not trained[0].requires_grad:
        return trained[0] if len(trained) == 1 else None
    whole = (part for part in trained if all(other is part or other.grad_fn in _behind(part) for other in trained))
    return next(whole, None)


def _behind(tensor: torch.Tensor) -> set[Any]:
    """The nodes of the autograd graph that a tensor comes from."""
    found: set[Any] = set()
    waiting = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [before for before, _ in node.next_functions]
    return found


def as_loss(value: Any) -> torch.Tensor:
    """The value, which has to be a tensor.

    Raises:
        LossTypeError: it is none.
    """
    if not isinstance(value, torch.Tensor):
        raise LossTypeError(describe(value))
    return value
