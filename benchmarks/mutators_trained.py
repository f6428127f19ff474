"""Operators on models whose weights look trained, and on what was not loaded with them; see benchmarks/mutators.py."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.mutation_tools import LINEAR, NORMS, Fields, called, is_shared, prediction_of, renew, tensors_of, trace
from benchmarks.mutators import Mutant, chosen, operator

#: The healthy model's outputs have to move by this much, relative to their own deviation: else nothing is wrong.
FELT = 0.5


def _age(fields: Fields) -> None:
    """Give a model weights as training leaves them: heavy tails, biases and scales of their own, and statistics of the data."""
    model: nn.Module = fields["model"]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() < 2:
                parameter.add_((0.1 * noise).to(parameter))
            else:
                parameter.mul_((0.7 * noise).exp().to(parameter) / 1.28)  # the mean square stays
        _collect(fields)


def _collect(fields: Fields) -> None:
    """Forwards in training mode until the running statistics are those of the batch."""
    model: nn.Module = fields["model"]
    norms = [module for module in model.modules() if isinstance(module, NORMS) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.5
    model.train()
    for _ in range(12 if norms else 0):
        called(model, fields["inputs"])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _evaluated(fields: Fields) -> torch.Tensor | None:
    model: nn.Module = fields["model"]
    model.eval()
    with torch.no_grad(), torch.random.fork_rng():
        found = prediction_of(called(model, fields["inputs"]))
    model.train()
    return found if found is not None and bool(found.isfinite().all()) else None


def _is_felt(before: torch.Tensor | None, after: torch.Tensor | None) -> bool:
    if before is None or after is None or before.shape != after.shape:
        return False
    return float((before - after).abs().mean()) > FELT * float(before.std())


def _is_ageable(fields: Fields) -> bool:
    """Whether the inputs are a batch of data and every parameter is trained."""
    inputs = fields.get("inputs")
    if inputs is None or "frozen" in fields or not tensors_of(inputs):
        return False
    return all(parameter.requires_grad and parameter.is_floating_point() for parameter in fields["model"].parameters())


@operator("weights loaded without their running statistics", "NRM011")
def statistics_left_out(fields: Fields) -> Mutant | None:
    if not _is_ageable(fields):
        return None
    calls = [call for call in trace(fields).of(*NORMS) if call.module.track_running_stats]
    if not calls or any(call.module.weight is None for call in calls):
        return None
    _age(fields)
    before = _evaluated(fields)
    for call in calls:
        call.module.reset_running_stats()
    return Mutant(renew(fields), tuple(call.path for call in calls)) if _is_felt(before, _evaluated(fields)) else None


@operator("a layer drawn anew among trained ones", "INI013")
def drawn_anew(fields: Fields) -> Mutant | None:
    if not _is_ageable(fields):
        return None
    found = trace(fields)
    head = found.head()
    calls = [call for call in found.of(*LINEAR) if call.module.weight.numel() >= 1024]
    call = chosen(calls[1:-1])
    if call is None or head is None or call.path == head.path or is_shared(fields["model"], call.module):
        return None
    _age(fields)
    before = _evaluated(fields)
    call.module.reset_parameters()
    return Mutant(renew(fields), (call.path,)) if _is_felt(before, _evaluated(fields)) else None
