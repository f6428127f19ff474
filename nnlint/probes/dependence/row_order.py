"""Outputs that come back in another order of the samples: a batch that is sorted by length, and results that are not put back.

Which sample gets which noise, and which row of an output is whose, then hang on the others without anything being mixed. It matters
only where the loss meets such rows with targets in the order of the batch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from nnlint.probes.dependence.by_sample import INFLUENCE
from nnlint.probes.dependence.outputs import zeroed
from nnlint.probes.dependence.under_noise import is_random, outputs_of_same_noise
from nnlint.seeding import seed_everything
from nnlint.tensors import map_tensors, tensors_in

if TYPE_CHECKING:
    from nnlint.probes.session import Session

Outputs = list[torch.Tensor]


def in_one_order(session: Session, inputs: Any, base: Outputs, changed: Outputs) -> tuple[Outputs, Outputs]:
    """The outputs for the batch and for the changed inputs, without what only hangs on the order of the samples.

    Noise is the same for every sample, and rows stand in the order of `base` where the loss does not care which is whose.

    Raises:
        Skip: the model does not take the changed inputs.
    """
    if is_random(session):
        base, changed = outputs_of_same_noise(session, inputs)
    pairs = list(zip(base, changed, strict=False))
    reordered = {place for place, (one, two) in enumerate(pairs) if _is_reordered(one, two, session.samples)}
    label, attempt = "loss of outputs in another order", "the loss does not take outputs in another order"
    if reordered and session.measure(label, lambda: _is_free(session, reordered), reads_only=True, attempt=attempt):
        changed = [one if place in reordered else two for place, (one, two) in enumerate(pairs)]
    return base, changed


def _is_reordered(one: torch.Tensor, two: torch.Tensor, samples: int) -> bool:
    """Whether the rows of `two` are those of `one`, all but that of the replaced sample, in another order."""
    if one.shape != two.shape or one.shape[:1] != (samples,) or samples < 3:
        return False
    rows, others = zeroed(one).reshape(samples, -1), zeroed(two).reshape(samples, -1)
    scale = float(rows.abs().max())
    distances = torch.cdist(rows, others, p=math.inf)  # the largest difference, without a tensor of all of them
    matched = (distances <= INFLUENCE * scale).any(1)
    # The row of the replaced sample has no match, and need not stand where the sample does.
    return int(matched.sum()) >= samples - 1 and bool((distances.diagonal()[1:] > INFLUENCE * scale).any())


def _is_free(session: Session, places: set[int]) -> bool:
    """Whether the loss is the same with the rows of these outputs in another order."""
    setup = session.setup
    if setup.own_loss is not None or setup.loss is None:
        return False
    seed_everything(session.plan.seed)
    setup.model.eval()
    with torch.no_grad():
        output = setup.call_model()
    floating = [tensor for tensor in tensors_in(output) if tensor.is_floating_point() and tensor.numel()]
    chosen = {id(tensor) for place, tensor in enumerate(floating) if place in places}
    losses = [_loss(session, output), _loss(session, map_tensors(lambda leaf: _turned(leaf, chosen), output))]
    return bool(chosen) and abs(losses[0] - losses[1]) <= INFLUENCE * abs(losses[0])


def _turned(leaf: torch.Tensor, chosen: set[int]) -> torch.Tensor:
    return leaf.roll(1, 0) if id(leaf) in chosen else leaf


def _loss(session: Session, output: Any) -> float:
    seed_everything(session.plan.seed)
    loss = session.setup.compute_loss(output)
    return float(loss) if loss is not None else math.nan
