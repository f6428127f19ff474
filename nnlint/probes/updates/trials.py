"""The same few updates with one setting changed: whether what the updates hint at does harm.

An update of the weights' own size, units that die and a decay as strong as the gradient occur in trainings that go well. So before
a rule advises a lower rate or less decay, that is tried on the same batch with the same seeds. Runs only where the updates hint at it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nnlint.finding import Skip
from nnlint.frames import is_fatal
from nnlint.probes.longer.effort import forward_work, steps_within
from nnlint.probes.longer.forward_loss import forward_loss
from nnlint.probes.longer.loop import update
from nnlint.probes.torch_errors import one_line
from nnlint.seeding import seed_everything
from nnlint.setup.joined import needs_closure

if TYPE_CHECKING:
    from nnlint.probes.session import Session
    from nnlint.probes.updates.stats import StepStats
    from nnlint.setup.training_setup import TrainingSetup

#: Multiply-adds of one run, its fewest and its most updates.
_BUDGET = (1e10, 6, 40)
#: Most updates where a decay is strong and does not pull yet: small weights feel it only once they have grown.
_LONGEST = 150
_LOWER = 0.1
#: Hints (docs/evidence/calibration.md#trials): an update over the weights, units that die, decay over the gradient or the update.
_RATIO = 0.1
_DEATHS = 0.3
_DECAY, _DECOUPLED = 1.0, 0.25
#: A decay that is added to the gradient and is strong by itself: the usual ones are a hundred times smaller.
_STRONG = 0.1
#: An eps over the gradients, and what takes its place.
_EPSILON, _SMALL = 1.0, 1e-3
#: A reduction below this share of the first loss shows nothing.
_NOTHING = 0.01


_Change = Callable[[dict[str, object]], None]


@dataclass(frozen=True)
class Trial:
    """Losses of two runs over the same batch and seeds, before the first update and after each.

    Attributes:
        configured: with the setup's own settings.
        changed: with the one setting changed.
    """

    configured: tuple[float, ...]
    changed: tuple[float, ...]

    @property
    def share(self) -> float | None:
        """Reduction of the loss as configured over that of the changed run; None where the changed one reduces nothing."""
        first = self.changed[0]
        gained = first - self.changed[-1]
        if not math.isfinite(gained) or gained <= _NOTHING * abs(first):
            return None
        reached = self.configured[-1]
        return (first - reached) / gained if math.isfinite(reached) else -math.inf


@dataclass(frozen=True)
class Trials:
    """What other settings would do; None where nothing hints at the setting.

    Attributes:
        lower_rate: with a tenth of the learning rate.
        without_decay: without weight decay.
        small_epsilon: with an eps that is small beside the gradients.
    """

    lower_rate: Trial | None = None
    without_decay: Trial | None = None
    small_epsilon: Trial | None = None


def provide(session: Session) -> Trials:
    """Try what the updates hint at.

    Raises:
        Skip: no updates were made, or one of the runs raised.
    """
    steps: StepStats = session.evidence("StepStats")
    if not steps.own_optimizer or steps.surrogate:
        return Trials()
    pulls, strong = _hints_at_decay(steps), _is_strong(session)
    changes = {
        "lower_rate": _lower_rate if _hints_at_rate(steps) else None,
        "without_decay": _no_decay if pulls or strong else None,
        "small_epsilon": _small_epsilon(steps.gradient_size or 0.0) if _hints_at_epsilon(steps, session) else None,
    }
    if not any(changes.values()):
        return Trials()
    most = _LONGEST if strong and not pulls else _BUDGET[2]

    def run() -> Trials:
        configured = _run(session, _unchanged, most)
        tried = {name: Trial(configured, _run(session, change, most)) for name, change in changes.items() if change}
        return Trials(**tried)

    found: Trials = session.measure("trials", run)
    return found


def _hints_at_rate(steps: StepStats) -> bool:
    ratio = steps.median_update_ratio
    return (ratio is not None and ratio > _RATIO) or any(layer.growth > _DEATHS for layer in steps.dead)


def _hints_at_decay(steps: StepStats) -> bool:
    judged = (item for item in steps.parameters if item.dims > 1)
    return any((item.decay_share or 0.0) > (_DECOUPLED if item.decoupled else _DECAY) for item in judged)


def _is_strong(session: Session) -> bool:
    """Whether a decay is strong by itself and the training has not begun: at its end the two pulls are equal."""
    given = session.evidence("Optimizer")
    return not given.steps and any(not group.decoupled and (group.weight_decay or 0.0) >= _STRONG for group in given.groups)


def _hints_at_epsilon(steps: StepStats, session: Session) -> bool:
    size = steps.gradient_size
    epsilons = (group.eps or 0.0 for group in session.evidence("Optimizer").groups)
    return size is not None and max(epsilons, default=0.0) >= _EPSILON * size


def _unchanged(group: dict[str, object]) -> None:
    """The setting as it is."""


def _lower_rate(group: dict[str, object]) -> None:
    if isinstance(rate := group.get("lr"), (float, int, torch.Tensor)):
        group["lr"] = rate * _LOWER


def _no_decay(group: dict[str, object]) -> None:
    if "weight_decay" in group:
        group["weight_decay"] = 0.0


def _small_epsilon(size: float) -> _Change:
    def change(group: dict[str, object]) -> None:
        if isinstance(eps := group.get("eps"), (float, int)):
            group["eps"] = min(eps, _SMALL * size)

    return change


def _run(session: Session, change: _Change, most: int) -> tuple[float, ...]:
    """Losses of a few updates with the changed settings; the model and the optimizer are as before afterwards."""
    setup = session.setup
    assert setup.optimizer is not None  # of the user's, as the steps say
    budget, least, _ = _BUDGET
    if needs_closure(setup.optimizer):
        most = least  # each update of LBFGS is up to twenty evaluations
    count = steps_within(forward_work(session.evidence("Graph"), setup.model), budget, least=least, most=most)
    try:
        for group in setup.optimizer.param_groups:
            change(group)
        return tuple(_losses(setup, setup.optimizer, count, session.plan.seed))
    except BaseException as error:
        if is_fatal(error) or isinstance(error, Skip):
            raise
        raise Skip(f"a trial of other settings raised {one_line(error)}") from error
    finally:
        session.guard.rewind()


def _losses(setup: TrainingSetup, optimizer: torch.optim.Optimizer, count: int, seed: int) -> list[float]:
    if not setup.model.training:
        setup.model.train()
    losses = []
    for number in range(count + 1):
        optimizer.zero_grad(set_to_none=True)
        seed_everything(seed + number % count)
        with torch.set_grad_enabled(number < count):
            loss = forward_loss(setup)
        losses.append(float(loss.detach()))
        if number == count or not math.isfinite(losses[-1]):
            break
        loss.backward()
        update(optimizer, setup)
    return losses
