"""What a few updates moved: parameters, buffers of frozen modules, and units that died."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnlint.probes.given.optimizer import decouples
from nnlint.probes.updates.stats import DeadGrowth, TrackedParameter
from nnlint.setup.joined import kind_of

if TYPE_CHECKING:
    from nnlint.guard.state_guard import StateGuard
    from nnlint.probes.training_pass.stats import ForwardStats
    from nnlint.probes.updates.run import Steps


def whole_norms(run: Steps) -> tuple[float, ...]:
    """Norm of the gradient of all parameters together, before each update."""
    steps = range(run.done)
    columns = ([norms[step] or 0.0 for norms in run.gradients.values() if step < len(norms)] for step in steps)
    return tuple(math.hypot(*column) if all(map(math.isfinite, column)) else math.inf for column in columns)


def tracked(run: Steps) -> Iterator[TrackedParameter]:
    """What the steps did to each parameter."""
    model = run.setup.model
    groups = {id(tensor): group for group in run.optimizer.param_groups for tensor in group["params"]}
    tables = {path for path, module in model.named_modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))}
    for name, parameter in model.named_parameters():
        before = run.guard.saved(parameter)
        if before is None:
            continue
        group = groups.get(id(parameter))
        weight_norm = float(torch.linalg.vector_norm(before.float())) if before.numel() else 0.0
        decay, decoupled = _decay(run.optimizer, group)
        yield TrackedParameter(
            name=name,
            numel=parameter.numel(),
            dims=parameter.dim(),
            requires_grad=parameter.requires_grad,
            in_optimizer=group is not None,
            sparse=name in run.sparse,
            gradients=tuple(run.gradients.get(name, ())),
            moved=_distance(parameter, before),
            weight_norm=weight_norm,
            steps=run.done if _moves(run.optimizer) else 0,
            updates=tuple(run.updates.get(name, ())),
            is_table=name.rpartition(".")[0] in tables,
            decay=decay * weight_norm,
            decoupled=decoupled,
            location=run.setup.construction.get(name.rpartition(".")[0]),
        )


def _moves(optimizer: torch.optim.Optimizer) -> bool:
    """Whether updates can change anything: some learning rate is not zero."""
    return any(group.get("lr", 1.0) for group in optimizer.param_groups)


def _decay(optimizer: torch.optim.Optimizer, group: dict[str, Any] | None) -> tuple[float, bool]:
    """How much of a weight one step's decay takes: added to the gradient, or (decoupled) off the weight itself."""
    settings = group or {}
    factor = float(settings.get("weight_decay") or 0.0)
    if decouples(kind_of(optimizer, settings), settings):
        return factor * float(settings.get("lr") or 0.0), True
    return factor, False


def _distance(now: torch.Tensor, before: torch.Tensor) -> float:
    if now.shape != before.shape or not now.numel():
        return 0.0
    return float(torch.linalg.vector_norm((now.detach() - before).float()))


def moved_buffers(model: nn.Module, guard: StateGuard) -> tuple[str, ...]:
    """Buffers that changed in modules whose parameters are all frozen."""
    moved = []
    for path, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if not own or any(parameter.requires_grad for parameter in own):
            continue
        for name, buffer in module.named_buffers(recurse=False):
            if name != "num_batches_tracked" and guard.differs(buffer):
                moved.append(f"{path}.{name}" if path else name)
    return tuple(moved)


def dead_growth(run: Steps, forward: ForwardStats) -> tuple[DeadGrowth, ...]:
    """Dead units of each rectifier before the steps and after; none where the layers cannot be paired."""
    before = [layer for layer in forward.rectifiers() if layer.units]
    after = run.counts.settle()
    if len(before) != len(after):
        return ()  # the forward took another path: layers cannot be paired
    return tuple(
        DeadGrowth(layer.module_path, layer.label, layer.location, layer.units or 0, layer.never_active or 0, dead)
        for layer, dead in zip(before, after, strict=True)
        if dead is not None
    )
