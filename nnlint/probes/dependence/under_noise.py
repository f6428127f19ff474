"""Comparisons where evaluation mode draws random numbers by design: a sampled latent, a diffusion time, a random mask.

Two runs from the same seed draw the same noise, so that what differs between them comes from what was changed. That holds as long
as the seed decides everything and both runs draw as many numbers; else dependence cannot be told from noise.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from nnlint.finding import Skip
from nnlint.probes.dependence.outputs import evaluate, relative_difference

if TYPE_CHECKING:
    from nnlint.capture.op import Op
    from nnlint.probes.dependence.inputs import InputInfluence
    from nnlint.probes.session import Session

_REASON = "evaluation mode is random (ARC012 or SIG007): dependence cannot be told from noise"
#: Larger differences between two runs from the same seed are noise that the seed does not decide.
_SAME = 1e-6
#: Draws of numbers; those of indices (randperm, randint, multinomial) choose samples.
_NOISE = frozenset(
    ["rand", "randn", "rand_like", "randn_like", "normal", "bernoulli", "poisson", "normal_", "uniform_", "bernoulli_", "exponential_"]
)


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


def outputs_of_same_noise(session: Session, inputs: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Outputs for the batch and for changed inputs, with all samples given the same noise.

    Which sample gets which noise may hang on the others: a batch that is sorted by length gives it out in that order.

    Raises:
        Skip: the model does not take the changed inputs.
    """
    with _SameNoise(session.samples):
        base, _ = _pass(session, session.batch_inputs)
        changed, _ = _pass(session, inputs)
    return base, changed


class _SameNoise(TorchFunctionMode):
    """Gives every sample the noise that is drawn for the first one; choices of rows stay as they are."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        drawn = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") not in _NOISE or not isinstance(drawn, torch.Tensor):
            return drawn
        axis = next((place for place, size in enumerate(drawn.shape) if size == self._count), None)
        return drawn if axis is None else drawn.copy_(drawn.narrow(axis, 0, 1).clone().expand_as(drawn))


def certain(influence: InputInfluence) -> InputInfluence:
    """What one seed proves of an input: that it matters. What seems ignored may be what the seed masks or drops."""
    if influence.matters and not influence.ignored:
        return influence
    return replace(influence, ignored=(), unknown=influence.unknown or _REASON)


def is_chosen(op: Op | None) -> bool:
    """Whether samples meet in a choice of rows: negatives and corrupted copies are drawn from the batch on purpose."""
    return op is None or op.is_kind("index")
