"""One backward of a random projection, to the inputs of a few samples: what has a gradient there matters, and samples that mix show.

A plain sum would have no gradient through a layer norm or a softmax.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from nnlint.finding import OutOfBudget, Skip
from nnlint.probes.dependence.outputs import forward
from nnlint.samples import batch_axis, first_samples
from nnlint.setup.inputs.names import named_inputs
from nnlint.tensors import map_tensors

if TYPE_CHECKING:
    from nnlint.probes.session import Session

#: Samples whose gradients are looked at: one whose output is projected, and one that must have no part in it.
_DIFFERENTIATED = 2


@dataclass(frozen=True)
class InputGradients:
    """Gradients of a random projection of the last sample's outputs with respect to the floating inputs of a few samples.

    Attributes:
        inputs: for each tensor of the inputs in order its absolute gradient over the samples; None where it has none.
        mixing: largest gradient with respect to the other samples, relative to the largest with respect to the same one;
            None where no output has the batch as its first dimension.
        refused: why there are none although there is something to differentiate; empty where there are.
    """

    inputs: tuple[torch.Tensor | None, ...]
    mixing: float | None
    refused: str = ""


def measured_gradients(session: Session, base: list[torch.Tensor]) -> InputGradients | None:
    """The gradients of two samples, or of as many as the model takes; None where there is nothing to differentiate.

    Args:
        session: whose model is run.
        base: outputs for `session.batch_inputs`: an axis of theirs is that of the samples if it shrinks with the batch.

    Raises:
        OutOfBudget: the time budget is used up.
    """
    few = first_samples(session.batch_inputs, session.samples, _DIFFERENTIATED)
    refused = ""
    for inputs in (few,) if few is session.batch_inputs else (few, session.batch_inputs):
        run = partial(_input_gradients, session, base, inputs)
        try:
            found: InputGradients | None = session.measure(
                "gradients of the inputs",
                run,
                reads_only=True,
                attempt="the inputs cannot be differentiated in evaluation mode",
            )
        except OutOfBudget:
            raise
        except Skip as skip:  # a batch of one size, cuDNN's recurrent layers
            refused = skip.reason
        else:
            return found
    return InputGradients((), None, refused)


def _input_gradients(session: Session, base: list[torch.Tensor], inputs: Any) -> InputGradients | None:
    setup = session.setup
    count = session.samples if inputs is session.batch_inputs else _DIFFERENTIATED
    tensors = [tensor for _, tensor in named_inputs(setup.with_inputs(inputs))]
    leaves: dict[int, torch.Tensor] = {}

    def as_leaf(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point() or tensor.layout is not torch.strided:
            return tensor
        leaf = leaves.setdefault(id(tensor), tensor.detach().clone().requires_grad_())
        return leaf * 1  # no leaf: the model may write to its input in place

    setup.model.eval()
    with torch.enable_grad():
        given = map_tensors(as_leaf, inputs)
        if not leaves:
            return None
        outputs = forward(setup, given, seed=session.plan.seed)
        wholes = base if len(base) == len(outputs) else [None] * len(outputs)
        follows = [_is_batched(a, count, b, session.samples) for a, b in zip(outputs, wholes, strict=True)]
        loss, batched = _projection(outputs, follows, seed=session.plan.seed)
        if loss is None:
            return None
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    absolute = (gradient.abs() if gradient is not None else None for gradient in _optional(found))
    by_leaf = dict(zip(leaves, absolute, strict=True))
    gradients = tuple(by_leaf.get(id(tensor)) for tensor in tensors)
    return InputGradients(gradients, _mixing(gradients, count) if batched else None)


def _optional(gradients: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor | None, ...]:
    """What `torch.autograd.grad` gives with `allow_unused`, which its annotation does not tell."""
    return gradients


def _is_batched(tensor: torch.Tensor, count: int, whole: torch.Tensor | None, samples: int) -> bool:
    """Whether the first axis is that of the samples: it has their number, and had it when there were more."""
    return tensor.shape[:1] == (count,) and (whole is None or whole.shape[:1] == (samples,))


def _projection(outputs: list[torch.Tensor], follows: list[bool], *, seed: int) -> tuple[torch.Tensor | None, bool]:
    """Projection of the last sample's outputs, and whether there is a batch axis to take it from.

    The last: a recurrent layer that runs along the batch hands nothing back.
    """
    generator = torch.Generator().manual_seed(seed)
    differentiable = [tensor for tensor in outputs if tensor.requires_grad]
    rows = [tensor[-1:] for tensor, batched in zip(outputs, follows, strict=True) if batched and tensor.requires_grad]
    terms = []
    for tensor in rows or differentiable:
        weights = torch.randn(tensor.shape, generator=generator).to(tensor)
        # -inf of a mask times a weight would make every gradient NaN.
        terms.append((tensor.where(tensor.isfinite(), 0.0) * weights).mean().float())
    return (torch.stack(terms).sum() if terms else None), bool(rows)


def _mixing(gradients: tuple[torch.Tensor | None, ...], count: int) -> float | None:
    """Largest gradient with respect to other samples over that with respect to the projected one; the worst input."""
    worst: float | None = None
    for gradient in gradients:
        axis = batch_axis(gradient, count) if gradient is not None else None
        if gradient is None or axis is None or count < 2:
            continue
        own = float(gradient.narrow(axis, count - 1, 1).nan_to_num().max())
        others = float(gradient.narrow(axis, 0, count - 1).nan_to_num().max())
        if max(own, others) > 0.0:
            worst = max(worst or 0.0, others / max(own, others))
    return worst
