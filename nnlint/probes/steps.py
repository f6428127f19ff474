"""The steps probe: a few real optimizer steps on the sample batch, with the user's optimizer, inside the state guard.

The gradients of the training pass are the first step's, so that k updates cost k - 1 further backward passes. Zero gradients are
judged over several steps with real updates between: zero-initialized branches wake up after one (domain: residual gammas, LoRA).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnlint.finding import Skip
from nnlint.probes.causes import is_fatal, one_line
from nnlint.probes.guard_process import seed_everything
from nnlint.probes.light_pass import RectifierCounts, forward_loss
from nnlint.probes.settle import gradient_norms
from nnlint.probes.step_stats import DeadGrowth, StepStats, TrackedParameter
from nnlint.probes.training_pass import find_non_finite

if TYPE_CHECKING:
    from nnlint.probes.guard import StateGuard
    from nnlint.probes.stats import ForwardStats
    from nnlint.setup.training_setup import TrainingSetup

#: Updates by size of the model: large models get the fewest that still judge a zero gradient (0, 1 and 2 updates done).
_SMALL_MODEL = 100_000
_STEPS_LARGE = 3
_STEPS_SMALL = 20
_NEUTRAL_RATE = 1e-3


@dataclass
class _Steps:
    setup: TrainingSetup
    optimizer: torch.optim.Optimizer
    own: bool
    seed: int
    surrogate: bool
    losses: list[float] = field(default_factory=list)
    gradients: dict[str, list[float | None]] = field(default_factory=dict)
    updates: int = 0


def run_steps(
    setup: TrainingSetup,
    guard: StateGuard,
    forward: ForwardStats,
    first_gradients: dict[str, torch.Tensor],
    *,
    seed: int,
    surrogate: bool,
) -> StepStats:
    """Make a few updates and say what moved.

    The caller holds the guard; the model is as before the training pass except that this function puts the pass's gradients back.

    Raises:
        Skip: the optimizer or the model raised while stepping.
    """
    own = setup.optimizer is not None
    run = _Steps(setup, setup.optimizer or _neutral(setup.model), own, seed, surrogate)
    setup.model.train() if not setup.model.training else None
    for name, parameter in setup.model.named_parameters():
        parameter.grad = first_gradients.get(name)
    run.losses.append(forward.loss if forward.loss is not None else math.nan)
    count = step_count(setup.model)
    counts = RectifierCounts()
    try:
        _run(run, count, counts)
    except BaseException as error:
        if is_fatal(error):
            raise
        raise Skip(f"a training step raised {one_line(error)}") from error
    return _collected(run, guard, forward, counts)


def step_count(model: nn.Module) -> int:
    """Updates the probe makes: 3 for a large model, 20 for one of under 100 000 parameters."""
    size = sum(parameter.numel() for parameter in model.parameters())
    return _STEPS_SMALL if size < _SMALL_MODEL else _STEPS_LARGE


def _neutral(model: nn.Module) -> torch.optim.Optimizer:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise Skip("no trainable parameter to step")
    return torch.optim.SGD(trainable, lr=_NEUTRAL_RATE)


def _run(run: _Steps, count: int, counts: RectifierCounts) -> None:
    for number in range(count):
        if number:
            run.optimizer.zero_grad(set_to_none=True)
            for parameter in run.setup.model.parameters():
                parameter.grad = None
            seed_everything(run.seed + number)
            loss = forward_loss(run.setup, surrogate_seed=run.seed if run.surrogate else None)
            run.losses.append(float(loss.detach()))
            if not math.isfinite(run.losses[-1]):
                return
            loss.backward()
        _note_gradients(run)
        run.optimizer.step()
        run.updates += 1
    seed_everything(run.seed)
    with torch.no_grad(), counts:
        loss = forward_loss(run.setup, surrogate_seed=run.seed if run.surrogate else None)
    run.losses.append(float(loss))


def _note_gradients(run: _Steps) -> None:
    for name, norm in gradient_norms(run.setup.model).items():
        run.gradients.setdefault(name, []).append(norm)


def _collected(run: _Steps, guard: StateGuard, forward: ForwardStats, counts: RectifierCounts) -> StepStats:
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
    rates = [group.get("lr") for group in run.optimizer.param_groups]
    return StepStats(
        parameters=_tracked(run, guard),
        losses=tuple(run.losses),
        steps=run.updates,
        own_optimizer=run.own,
        dead=_dead_growth(forward, counts) if run.updates and broken is None else (),
        non_finite_step=broken,
        frozen_moved=_frozen_moved(run.setup.model, guard),
        moved_buffers=_moved_buffers(run.setup.model, guard),
        surrogate=run.surrogate,
        optimizer=type(run.optimizer).__name__,
        learning_rate=float(rates[0]) if rates and rates[0] is not None else None,
        **place,
    )


def _tracked(run: _Steps, guard: StateGuard) -> tuple[TrackedParameter, ...]:
    held = {id(tensor) for group in run.optimizer.param_groups for tensor in group["params"]}
    decay = {id(t): float(g.get("weight_decay") or 0.0) for g in run.optimizer.param_groups for t in g["params"]}
    found = []
    for name, parameter in run.setup.model.named_parameters():
        before = guard.saved(parameter)
        if before is None:
            continue
        weight_norm = float(torch.linalg.vector_norm(before.float())) if before.numel() else 0.0
        found.append(
            TrackedParameter(
                name=name,
                numel=parameter.numel(),
                dims=parameter.dim(),
                requires_grad=parameter.requires_grad,
                in_optimizer=id(parameter) in held,
                sparse=parameter.grad is not None and parameter.grad.layout is not torch.strided,
                gradients=tuple(run.gradients.get(name, ())),
                moved=_distance(parameter, before),
                weight_norm=weight_norm,
                steps=run.updates,
                decay_norm=decay.get(id(parameter), 0.0) * weight_norm,
                location=run.setup.construction.get(name.rpartition(".")[0]),
            )
        )
    return tuple(found)


def _distance(now: torch.Tensor, before: torch.Tensor) -> float:
    if now.shape != before.shape or not now.numel():
        return 0.0
    return float(torch.linalg.vector_norm((now.detach() - before).float()))


def _frozen_moved(model: nn.Module, guard: StateGuard) -> tuple[str, ...]:
    frozen = ((name, parameter) for name, parameter in model.named_parameters() if not parameter.requires_grad)
    return tuple(name for name, parameter in frozen if guard.differs(parameter))


def _moved_buffers(model: nn.Module, guard: StateGuard) -> tuple[str, ...]:
    moved = []
    for path, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if not own or any(parameter.requires_grad for parameter in own):
            continue
        for name, buffer in module.named_buffers(recurse=False):
            if name != "num_batches_tracked" and guard.differs(buffer):
                moved.append(f"{path}.{name}" if path else name)
    return tuple(moved)


def _dead_growth(forward: ForwardStats, counts: RectifierCounts) -> tuple[DeadGrowth, ...]:
    before = [layer for layer in forward.rectifiers() if layer.units]
    after = counts.settle()
    if len(before) != len(after):
        return ()  # the forward took another path: layers cannot be paired
    return tuple(
        DeadGrowth(layer.module_path, layer.label, layer.location, layer.units or 0, layer.never_active or 0, dead)
        for layer, (units, dead) in zip(before, after, strict=True)
        if layer.units == units
    )
