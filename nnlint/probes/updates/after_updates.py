"""A second look after a few plain updates: zero-initialized heads and branches show nothing before the first of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch

from nnlint.finding import Skip
from nnlint.probes.longer.forward_loss import forward_loss
from nnlint.probes.longer.loop import dense_gradients, stepping, trainable
from nnlint.seeding import seed_everything

if TYPE_CHECKING:
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

T = TypeVar("T")

#: A zero-initialized head hides what a zero-initialized gate of a branch hides in turn: one update for each.
STEPS = 3
_RATE = 0.1
_LARGEST_NORM = 1.0


def second_look(session: Session, label: str, look: Callable[[], T], enough: Callable[[T], bool]) -> T:
    """Look again after each of a few updates, until it is enough; the last look.

    Args:
        session: whose model is updated, inside the state guard.
        label: of the timing.
        look: measures; it may put the model into another mode.
        enough: whether no further update is needed.

    Raises:
        Skip: the model cannot be updated, or a look cannot be had.
    """

    def run() -> T:
        for number in range(STEPS):
            _update(session.setup, seed=session.plan.seed + number)
            seen = look()
            if enough(seen):
                break
        return seen

    found: T = session.measure(label, run)
    return found


def _update(setup: TrainingSetup, *, seed: int) -> None:
    """One step of gradient descent on the whole batch, its length limited, so that any loss will do."""
    parameters = trainable(setup.model)
    setup.model.train()
    seed_everything(seed)
    with stepping(setup), torch.enable_grad():
        loss = forward_loss(setup, surrogate_seed=seed)
        loss.backward()
    dense_gradients(parameters)
    norm = torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_NORM)
    if not bool(norm.isfinite()):
        raise Skip("a gradient was not finite in the step before the second measurement")
    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.sub_(_RATE * parameter.grad)
            parameter.grad = None
