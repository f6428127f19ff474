"""The steps probe: a few real optimizer steps on the sample batch, with the user's optimizer, inside the state guard.

The gradients of the training pass are the first step's, so that k updates cost k - 1 further backward passes. Zero gradients are
judged over several steps with real updates between: zero-initialized branches wake up after one (domain: residual gammas, LoRA).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from nnlint.frames import is_raised_by_user
from nnlint.probes.longer.effort import forward_work, steps_within
from nnlint.probes.longer.forward_loss import RectifierCounts, forward_loss, sparing_gradients
from nnlint.probes.longer.known_losses import loss_of_chance
from nnlint.probes.longer.loop import moment, stepping, trainable, update, update_in_parts
from nnlint.probes.torch_errors import during
from nnlint.probes.training_pass.gradients import gradient_norms, norms_in_passing, norms_of, sparse_gradients
from nnlint.probes.training_pass.reruns import find_non_finite
from nnlint.probes.updates.moved import dead_growth, moved_buffers, tracked, whole_norms
from nnlint.probes.updates.stats import StepStats
from nnlint.probes.updates.undecided import is_undecided
from nnlint.seeding import seed_everything

if TYPE_CHECKING:
    from nnlint.guard.state_guard import StateGuard
    from nnlint.probes.session import Session
    from nnlint.probes.training_pass.stats import ForwardStats
    from nnlint.setup.training_setup import TrainingSetup

#: Multiply-adds of all steps together. A large model gets one update, and the gradients after it where those before left a question
#: open; a second, and theirs, where some gradient was zero both times: a zero is judged over three (0, 1 and 2 updates done).
_BUDGET = 1e9
_FEWEST = 2
_MOST = 20
#: Multiply-adds of the further steps where the loss has risen, before it counts as risen for good, and the fewest of them.
_PATIENCE = 2e10
_FEWEST_MORE = 6
_RISEN = 0.1  # of the first loss, or of the loss of chance where that is larger
_LOST = 30.0  # times it: this loss will not come back
#: From this many steps on every single update is measured: the model is small enough for a copy at each.
_COMPARED = 6
_NEUTRAL_RATE = 1e-3
_LOOKAHEAD = 50


@dataclass
class Steps:
    """The steps while they are made, and what was seen of them."""

    setup: TrainingSetup
    guard: StateGuard
    optimizer: torch.optim.Optimizer
    seed: int
    surrogate: bool
    counts: RectifierCounts
    compared: bool
    chance: float
    backward_seconds: float | None = None
    losses: list[float] = field(default_factory=list)
    gradients: dict[str, list[float | None]] = field(default_factory=dict)
    updates: dict[str, list[float]] = field(default_factory=dict)
    frozen_moved: tuple[str, ...] = ()
    sparse: set[str] = field(default_factory=set)
    done: int = 0
    seconds: list[float] = field(default_factory=list)
    update_seconds: list[float] = field(default_factory=list)
    learning_rate: float | None = None
    scheduled: int = 0
    schedule_error: Exception | None = None

    def loss(self) -> torch.Tensor:
        """The loss of the next step."""
        with stepping(self.setup):
            return forward_loss(self.setup, surrogate_seed=self.seed if self.surrogate else None)


def run_steps(
    setup: TrainingSetup,
    guard: StateGuard,
    forward: ForwardStats,
    first_gradients: dict[str, torch.Tensor],
    *,
    seed: int,
    surrogate: bool,
    chance: float | None = None,
    backward_seconds: float | None = None,
    failed: Callable[[str, BaseException], object] | None = None,
) -> StepStats:
    """Make a few updates and say what moved.

    The caller holds the guard; the model is as before the training pass except that this function puts the pass's gradients back.

    Args:
        setup: what is checked.
        guard: knows what everything was before.
        forward: of the training pass.
        first_gradients: of the training pass, by parameter name.
        seed: of the first step; each further one has the next.
        surrogate: there is no loss: a random projection of the outputs stands in.
        chance: the loss of a prediction that says nothing, where it is known.
        backward_seconds: what the backward of the training pass took; with the time of a forward it makes that of a step.
        failed: is told what the user's scheduler raised; the steps themselves go on without it.

    Raises:
        Skip: nothing can be updated.
    """
    counts = RectifierCounts([layer.units or 0 for layer in forward.rectifiers()])
    work = forward_work(forward.graph, setup.model)
    count = steps_within(work, _BUDGET, least=_FEWEST, most=_MOST)
    optimizer = setup.optimizer or torch.optim.SGD(trainable(setup.model), lr=_NEUTRAL_RATE)
    run = Steps(
        setup, guard, optimizer, seed, surrogate, counts, count >= _COMPARED, chance or 0.0, backward_seconds
    )
    if not setup.model.training:
        setup.model.train()
    for name, parameter in setup.model.named_parameters():
        parameter.grad = first_gradients.pop(name, None)  # nothing else may keep them: they are as large as the model
    run.losses.append(forward.loss if forward.loss is not None else math.nan)
    _run(run, count, steps_within(work, _PATIENCE, least=_FEWEST_MORE, most=_MOST))
    stats = replace(_collected(run, forward), chance=chance)
    if failed is not None and run.schedule_error is not None:
        failed("learning-rate schedule", run.schedule_error)
    return stats


def _run(run: Steps, count: int, more: int) -> None:
    """Make `count` updates (for a large model one, and a second where a zero gradient asks for it), more where the loss has risen."""
    _leave_zero_rate(run)
    run.learning_rate = _rate(run.optimizer)
    large = count == _FEWEST
    _train_and_look(run, 1 if large else count, differentiate=large)
    if large and math.isfinite(run.losses[-1]) and _has_zero_gradient(run):
        _take_back_the_look(run)
        _train_and_look(run, count, differentiate=True)
    last = min(run.done + more, _MOST)
    if run.done < last and _is_up(run):
        # Momentum overshoots at first: a rise is judged when there was time to come back from it.
        _take_back_the_look(run)
        _train_and_look(run, last, differentiate=False, until=lambda: not _is_up(run))


def _train_and_look(run: Steps, count: int, *, differentiate: bool, until: Callable[[], bool] | None = None) -> None:
    _train(run, count, until)
    if math.isfinite(run.losses[-1]):
        _look_again(run, differentiate=differentiate and is_undecided(run))


def _train(run: Steps, count: int, until: Callable[[], bool] | None) -> None:
    """Update until there are `count` updates in all, or the loss is not finite, hopeless, or as wanted."""
    while run.done < count:
        if run.done:
            for parameter in run.setup.model.parameters():
                parameter.grad = None
            run.optimizer.zero_grad(set_to_none=True)
            seed_everything(run.seed + run.done)
            started = moment(run.setup.model)
            loss = run.loss()
            run.losses.append(float(loss.detach()))
            if not math.isfinite(run.losses[-1]):
                return
            if until is not None and (until() or run.losses[-1] > _LOST * max(abs(run.losses[0]), run.chance)):
                run.losses.pop()  # the look that follows measures it
                return
            with stepping(run.setup):
                loss.backward()
            run.seconds.append(moment(run.setup.model) - started)
        run.sparse |= sparse_gradients(run.setup.model)
        _note(run, gradient_norms(run.setup.model))
        _step(run)
        run.done += 1


def _is_up(run: Steps) -> bool:
    """Whether the loss is above where it began by more than noise."""
    first, last = run.losses[0], run.losses[-1]
    return math.isfinite(last) and last - first > _RISEN * max(abs(first), run.chance)


def _take_back_the_look(run: Steps) -> None:
    run.losses.pop()
    run.counts.clear()
    for norms in run.gradients.values():
        del norms[run.done :]


def _has_zero_gradient(run: Steps) -> bool:
    """Whether some parameter had no gradient in any step so far: a third look decides."""
    return any(not any(norms) for norms in run.gradients.values())


def _look_again(run: Steps, *, differentiate: bool) -> None:
    """The forward after the last update; after few updates its gradients count too, each dropped once its norm is known."""
    for parameter in run.setup.model.parameters():
        parameter.grad = None
    run.optimizer.zero_grad(set_to_none=True)
    seed_everything(run.seed)
    started = moment(run.setup.model)

    def look() -> torch.Tensor:
        run.counts.clear()
        with run.counts:
            return run.loss()

    loss = look() if differentiate else sparing_gradients(look)
    run.losses.append(float(loss.detach()))
    if not math.isfinite(run.losses[-1]):
        return
    if differentiate:
        with stepping(run.setup):
            norms = norms_in_passing(run.setup.model, loss)
        run.seconds.append(moment(run.setup.model) - started)
        _note(run, norms)
    elif run.backward_seconds is not None:
        run.seconds.append(moment(run.setup.model) - started + run.backward_seconds)


def _step(run: Steps) -> None:
    named = list(run.setup.model.named_parameters())
    before = {name: p.detach().clone() for name, p in named if p.requires_grad} if run.compared else {}
    frozen = [(name, p) for name, p in named if not p.requires_grad] if not run.done else []
    moved_by_forward = {name for name, p in frozen if run.guard.differs(p)}
    started = moment(run.setup.model)
    make = update if run.compared else update_in_parts  # memory counts where the model is large
    make(run.optimizer, run.setup, surrogate_seed=run.seed if run.surrogate else None)
    run.update_seconds.append(moment(run.setup.model) - started)
    if frozen:
        moved = (name for name, p in frozen if name not in moved_by_forward and run.guard.differs(p))
        run.frozen_moved = tuple(moved)
    if before:
        changes = norms_of(p.detach() - before[name] for name, p in named if name in before)
        for name, change in zip(before, changes, strict=True):
            run.updates.setdefault(name, []).append(change)


def _leave_zero_rate(run: Steps) -> None:
    """Let a warm-up that starts at a rate of zero take its first step: an update that changes nothing proves nothing."""
    scheduler = run.setup.scheduler
    for _ in range(_LOOKAHEAD):
        if scheduler is None or any(group.get("lr") for group in run.optimizer.param_groups):
            return
        if not _advanced(run):
            return


def _rates_ahead(run: Steps) -> tuple[float, ...]:
    """The rate now and those the scheduler would set; the guard puts scheduler and optimizer back."""
    rates = [run.learning_rate]
    while len(rates) <= _LOOKAHEAD and _advanced(run):
        rates.append(_rate(run.optimizer))
    return tuple(rate for rate in rates if rate is not None)


def _advanced(run: Steps) -> bool:
    """Make the scheduler's next step; whether there was one. What the user's code raises in it is kept: training would meet it.

    A scheduler that wants a metric makes none, and a table may well end before the steps that nnlint looks ahead do.
    """
    scheduler = run.setup.scheduler
    if scheduler is None or run.schedule_error is not None or _wants_more(scheduler.step):
        return False
    try:
        with during(
            f"step {run.scheduled + 1} of the scheduler", "step it as often outside nnlint: it raises there too"
        ):
            scheduler.step()
    except Exception as error:
        at_its_end = run.scheduled > 0 and isinstance(error, (LookupError, StopIteration, ValueError))
        if is_raised_by_user(error) and not at_its_end:
            run.schedule_error = error
        return False
    run.scheduled += 1
    return True


def _wants_more(step: Callable[..., Any]) -> bool:
    """Whether a scheduler's step takes anything beside the epoch, which is no longer given."""
    try:
        names = inspect.signature(step).parameters
    except (TypeError, ValueError):
        return False
    return any(name not in ("epoch", "args", "kwargs") for name in names)


def _rate(optimizer: torch.optim.Optimizer) -> float | None:
    rate = next((group["lr"] for group in optimizer.param_groups if "lr" in group), None)
    return float(rate) if rate is not None else None


def _note(run: Steps, norms: dict[str, float | None]) -> None:
    for name, norm in norms.items():
        run.gradients.setdefault(name, []).append(norm)


def _collected(run: Steps, forward: ForwardStats) -> StepStats:
    finite_steps = next((index for index, loss in enumerate(run.losses) if not math.isfinite(loss)), None)
    # A loss that was not finite to begin with is the training pass's finding, not the steps'.
    broken = finite_steps if finite_steps and math.isfinite(run.losses[0]) else None
    place: dict[str, Any] = {}
    if broken is not None:
        culprit = find_non_finite(run.setup, seed=run.seed)
        if culprit is not None:
            place = {
                "non_finite_at": culprit.op.label,
                "non_finite_location": culprit.op.location,
                "non_finite_module": culprit.op.module_path,
            }
    return StepStats(
        parameters=tuple(tracked(run)),
        losses=tuple(run.losses),
        steps=run.done,
        own_optimizer=run.setup.optimizer is not None,
        samples=forward.samples,
        dead=dead_growth(run, forward) if run.done and broken is None else (),
        non_finite_step=broken,
        frozen_moved=run.frozen_moved,
        moved_buffers=moved_buffers(run.setup.model, run.guard),
        surrogate=run.surrogate,
        optimizer=type(run.optimizer).__name__,
        location=run.setup.script_lines.get("optimizer"),
        learning_rate=run.learning_rate,
        schedule=_rates_ahead(run),  # after what reads the rate that the steps were made with
        gradient_norms=whole_norms(run),
        step_seconds=min(run.seconds) + min(run.update_seconds) if run.seconds and run.update_seconds else None,
        **place,
    )


def provide(session: Session) -> StepStats:
    """A few steps of the setup's optimizer.

    Raises:
        Skip: forward or backward could not be run.
    """
    forward, backward = session.evidence("ForwardStats"), session.evidence("BackwardStats")
    gradients, session.training_pass.gradients = session.training_pass.gradients, {}
    chance = loss_of_chance(session.training_pass.losses)

    def run() -> StepStats:
        return run_steps(
            session.setup,
            session.guard,
            forward,
            gradients,
            seed=session.plan.seed,
            surrogate=backward.surrogate,
            chance=chance,
            backward_seconds=session.training_pass.backward_seconds,
            failed=session.failed,
        )

    found: StepStats = session.measure("optimizer steps", run)
    return found
