"""Comparisons where evaluation mode draws random numbers by design: a sampled latent, a diffusion time, a random mask.

Two runs from the same seed draw the same noise, so that what differs between them comes from what was changed. That holds as long
as the seed decides everything and both runs draw as many numbers; else dependence cannot be told from noise.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from nnlint.finding import Skip
from nnlint.probes.dependence.outputs import evaluate, relative_difference

if TYPE_CHECKING:
    from nnlint.capture.op import Op
    from nnlint.probes.dependence.inputs import InputInfluence
    from nnlint.probes.session import Session

_REASON = "evaluation mode is random (ARC012 or SIG007): dependence cannot be told from noise"
#: Larger differences between two runs from the same seed are noise that the seed does not decide.
_SAME = 1e-6


def is_random(session: Session) -> bool:
    """Whether two evaluation passes from different seeds differ."""
    return session.evidence("EvalStats").randomness is not None


def outputs_of_one_seed(session: Session) -> list[torch.Tensor]:
    """Outputs of the evaluation pass from the plan's seed.

    Raises:
        Skip: another pass from the same seed gives others.
    """
    outputs: list[torch.Tensor] = session.evidence("EvalStats").outputs
    if is_random(session):
        again, _ = _pass(session, session.batch_inputs)
        if relative_difference(outputs, again) > _SAME:
            raise Skip(_REASON)
    return outputs


def outputs_of(session: Session, inputs: Any) -> list[torch.Tensor]:
    """Outputs for changed inputs from the same seed.

    Raises:
        Skip: the model draws other random numbers for them, or does not take them.
    """
    _, before = _pass(session, session.batch_inputs)
    outputs, after = _pass(session, inputs)
    if not torch.equal(before[0], after[0]) or before[1] != after[1]:
        raise Skip(_REASON)
    return outputs


def _pass(session: Session, inputs: Any) -> tuple[list[torch.Tensor], tuple[torch.Tensor, object]]:
    """Outputs, and the random states that the pass ends with."""

    def run() -> tuple[list[torch.Tensor], tuple[torch.Tensor, object]]:
        outputs = evaluate(session.setup, inputs, seed=session.plan.seed)
        return outputs, (torch.get_rng_state(), random.getstate())

    found: tuple[list[torch.Tensor], tuple[torch.Tensor, object]] = session.measure(
        "evaluation passes from one seed", run, reads_only=True, attempt="the model does not take the changed batch"
    )
    return found


def certain(influence: InputInfluence) -> InputInfluence:
    """What one seed proves of an input: that it matters. What seems ignored may be what the seed masks or drops."""
    if influence.matters and not influence.ignored:
        return influence
    return replace(influence, ignored=(), unknown=influence.unknown or _REASON)


def is_chosen(op: Op | None) -> bool:
    """Whether samples meet in a choice of rows: negatives and corrupted copies are drawn from the batch on purpose."""
    return op is None or op.is_kind("index")
