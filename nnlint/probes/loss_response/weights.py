"""How much a loss makes of the decisions of each class, measured where no answer is given yet."""

from __future__ import annotations

import torch
from torch import Tensor

from nnlint.probes.loss_response.answers import Form
from nnlint.probes.loss_response.caller import LossCaller, Refused
from nnlint.probes.loss_response.stats import ClassWeight

#: Relative spread of the gradients within a class up to which the class has one weight.
_SPREAD = 1e-3
#: Classes that are told apart.
_CLASSES = 64


def class_weights(caller: LossCaller, form: Form) -> tuple[ClassWeight, ...]:
    """The weight of each class: the size of the gradient at a decision of it, where all answers are alike.

    Empty where decisions of one class weigh differently (weights of samples, a score of the whole mask), or for other losses.
    """
    neutral = _neutral(form)
    if neutral is None:
        return ()
    try:
        gradient = caller.gradient(caller.with_leaf(form.leaf, neutral), form.leaf).double()
    except Refused:
        return ()
    sizes = gradient.abs() if form.axis is None else torch.linalg.vector_norm(gradient, dim=form.axis)
    if not bool(sizes.isfinite().all()):
        return ()
    sizes, labels = sizes.reshape(form.labels.shape)[form.valid], form.labels[form.valid]
    made = [_of_class(sizes[labels == value], float(value)) for value in labels.unique()[: _CLASSES + 1]]
    found = [weight for weight in made if weight is not None]
    return tuple(found) if 2 <= len(found) == len(made) <= _CLASSES else ()


def _of_class(sizes: Tensor, value: float) -> ClassWeight | None:
    weight = float(sizes.mean())
    even = float((sizes - weight).abs().max()) <= _SPREAD * weight
    return ClassWeight(value, weight, len(sizes)) if even and weight > 0.0 else None


def _neutral(form: Form) -> Tensor | None:
    """An output that says nothing: logits of zero, the same probability for each class."""
    if form.axis is not None:
        share = 1.0 / form.like.shape[form.axis]
    elif form.name in ("logits", "probabilities") and set(form.labels.unique().tolist()) == {0.0, 1.0}:
        share = 0.5
    else:
        return None
    if form.name == "logits":
        return torch.zeros_like(form.like)
    even = torch.full_like(form.like, share)
    return even.log() if form.name == "log-probabilities" else even
