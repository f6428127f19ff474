"""Operators on fine-tuning state and precision; see benchmarks/mutators.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.mutation_tools import NORMS, Fields, Wrapped, renew, replace, trace
from benchmarks.mutators import Mutant, chosen, operator


class Gated(nn.Module):
    """The layer's output times the share of the best of four scores, which is normalized after it was chosen."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner, self.gate = inner, nn.Linear(inner.in_features, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * self.gate(x).topk(1, dim=-1).values.softmax(dim=-1)


class KeptInEval(nn.Module):
    """Puts the layer into evaluation mode whenever training begins."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def train(self, mode: bool = True) -> KeptInEval:
        super().train(mode)
        self.inner.eval()
        return self

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x)


@operator("a head frozen at its random weights", "INI014")
def frozen_head(fields: Fields) -> Mutant | None:
    found = trace(fields)
    head = found.head()
    if head is None or "frozen" in fields or any(not parameter.requires_grad for parameter in fields["model"].parameters()):
        return None
    above = found.before(head)
    if above is None or not head.module.weight.any():
        return None
    head.module.requires_grad_(False)
    return Mutant(renew(fields), (head.path,))


@operator("a gate that normalizes its only choice", "GRD003", "LOS007")
def self_normalized(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(nn.Linear))
    if call is None or not isinstance(call.given, torch.Tensor):
        return None
    replace(fields["model"], call.path, Gated(call.module))
    return Mutant(renew(fields), (f"{call.path}.gate", call.path))


@operator("a mask of -1e9 in float16", "SIG008")
def masked_in_half(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(nn.Linear, nn.Conv2d))
    if call is None or fields.get("precision"):
        return None
    filled = Wrapped(call.module, after=lambda x: x.masked_fill(torch.zeros_like(x, dtype=torch.bool), -1e9))
    replace(fields["model"], call.path, filled)
    return Mutant({**renew(fields), "precision": "fp16", "grad_scaler": True}, (call.path,))


@operator("a batch norm kept in eval by train()", "NRM010")
def kept_in_eval(fields: Fields) -> Mutant | None:
    found = trace(fields).of(*NORMS)
    call = chosen(found)
    if call is None or len(found) < 2 or call.module.weight is None or not call.module.weight.requires_grad:
        return None
    replace(fields["model"], call.path, KeptInEval(call.module))
    return Mutant(renew(fields), (call.path, f"{call.path}.inner"))
