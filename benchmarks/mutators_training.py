"""Operators on weights, norms, optimizer and data; see benchmarks/mutators.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.mutation_tools import (
    LINEAR,
    NORMS,
    Call,
    Fields,
    SwitchedOff,
    Trace,
    Wrapped,
    called,
    copied,
    float_inputs,
    is_classification,
    is_plain_stack,
    labels_of,
    renew,
    replace,
    trace,
    trained,
    weights,
)
from benchmarks.mutators import Mutant, chosen, on_head, operator, two_dimensional

# -------------------------------------------------------------------- initialization


def _initialized(fields: Fields, fill: Callable[[torch.Tensor], Any], smallest: int = 2) -> Mutant | None:
    found = [(path, weight) for path, _, weight in weights(fields["model"]) if weight.shape[0] > 1]
    if len(found) < smallest:
        return None
    for _, weight in found:
        fill(weight)
    return Mutant(fields, tuple(path for path, _ in found))


def _fan_in(weight: torch.Tensor) -> int:
    return math.prod(weight.shape[1:])


@operator("all weights 0.01", "INI002")
def constant(fields: Fields) -> Mutant | None:
    return _initialized(fields, lambda weight: weight.fill_(0.01)) if _holds_all_matrices(fields) else None


@operator("all weights and biases zero", "INI002")
def zero(fields: Fields) -> Mutant | None:
    if not _holds_all_matrices(fields):
        return None
    for _, module, _ in weights(fields["model"]):
        if module.bias is not None:
            module.bias.data.zero_()
    return _initialized(fields, lambda weight: weight.zero_())


def _holds_all_matrices(fields: Fields) -> bool:
    """Whether every trained matrix is the weight of a linear map or an embedding: random ones elsewhere set units apart."""
    tables = [
        module.weight for module in fields["model"].modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
    ]
    known = {id(tensor) for tensor in tables} | {weight.data_ptr() for _, _, weight in weights(fields["model"])}
    matrices = [parameter for parameter in trained(fields) if parameter.dim() >= 2]
    return all(id(matrix) in known or matrix.data_ptr() in known for matrix in matrices)


@operator("weights of 12 times the He scale", "INI003")
def oversized(fields: Fields) -> Mutant | None:
    if not is_plain_stack(fields["model"]):
        return None
    return _initialized(fields, lambda weight: weight.normal_(0.0, 12 * math.sqrt(2 / _fan_in(weight))))


@operator("weights of a fortieth of the LeCun scale", "INI004", "SIG004")
def undersized(fields: Fields) -> Mutant | None:
    if not is_plain_stack(fields["model"]):
        return None
    for module in fields["model"].modules():
        if isinstance(module, LINEAR) and module.bias is not None:
            module.bias.data.zero_()
    return _initialized(fields, lambda weight: weight.normal_(0.0, 0.025 / math.sqrt(_fan_in(weight))), 3)


@operator("NaN in a weight", "INI005")
def not_a_number(fields: Fields) -> Mutant | None:
    found = list(weights(fields["model"]))
    if not found:
        return None
    path, _, weight = found[len(found) // 2]
    weight[(0,) * weight.dim()] = float("nan")
    return Mutant(fields, (path,))


@operator("a bias that closes all units", "INI009")
def closed(fields: Fields) -> Mutant | None:
    found = trace(fields)
    pairs = [(call, found.before(call)) for call in found.of(nn.ReLU)]
    calls = [
        before
        for _, before in pairs
        if before is not None and isinstance(before.module, LINEAR) and before.module.bias is not None
    ]
    call = chosen(calls)
    if call is None:
        return None
    call.module.bias.data.fill_(-50.0)
    return Mutant(fields, (call.path,))


@operator("rows of a weight copied", "INI006")
def copied_rows(fields: Fields) -> Mutant | None:
    found = [
        (path, weight) for path, _, weight in weights(fields["model"]) if len(weight) >= 16 and _fan_in(weight) >= 8
    ]
    if not found:
        return None
    path, weight = found[len(found) // 2]
    weight[len(weight) // 2 + 1 : len(weight) // 2 + 5] = weight[:4].clone()
    return Mutant(fields, (path,))


# -------------------------------------------------------------------- norms, signal, gradient


@operator("dropout before batch norm", "NRM001")
def dropout_before_norm(fields: Fields) -> Mutant | None:
    found = trace(fields)
    calls = [
        call
        for call in found.of(*NORMS)
        if (found.before(call) is not None and isinstance(found.before(call).module, LINEAR))
    ]
    call = chosen([call for call in calls if _follows_activation(found, call)])
    if call is None:
        return None
    layer = found.before(call)
    replace(fields["model"], layer.path, nn.Sequential(layer.module, nn.Dropout(0.5)))
    return Mutant(fields, (call.path, layer.path))


def _follows_activation(found: Trace, norm: Call) -> bool:
    """Whether the layer before the norm reads rectified values, which dropout shifts most."""
    layer = found.before(norm)
    source = found.before(layer) if layer is not None else None
    return source is not None and isinstance(source.module, (nn.ReLU, nn.ReLU6))


@operator("nine tenths dropped", "NRM005")
def extreme_dropout(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(nn.Dropout))
    if call is None:
        return None
    call.module.p = 0.9
    return Mutant(fields, (call.path,))


@operator("momentum 0.99 in a batch norm", "NRM007")
def momentum(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(*NORMS))
    if call is None:
        return None
    call.module.momentum = 0.99
    return Mutant(fields, (call.path,))


@operator("one batch norm left in eval", "NRM010")
def left_in_eval(fields: Fields) -> Mutant | None:
    found = trace(fields).of(*NORMS)
    call = chosen(found)
    if call is None or len(found) < 2 or call.module.weight is None or not call.module.weight.requires_grad:
        return None
    call.module.eval()
    return Mutant(fields, (call.path,))


@operator("batch norm on the logits", "NRM013")
def norm_on_logits(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    return on_head(fields, lambda head: nn.Sequential(head, nn.BatchNorm1d(found.shape[1])))


@operator("logarithm of values that may be zero", "SIG003", "TRN002")
def log_of_zero(fields: Fields) -> Mutant | None:
    """Where a right answer is among the zeros: of a trained model cross-entropy never asks for the others."""
    made = on_head(fields, lambda head: Wrapped(head, after=lambda x: torch.log(torch.relu(x))))
    found, labels = (trace(made.fields).prediction, labels_of(made.fields)) if made is not None else (None, None)
    if found is None or labels is None or found.dim() != 2 or labels.shape != found.shape[:1]:
        return made
    return made if bool(found.gather(1, labels[:, None]).isinf().any()) else None


@operator("noise in evaluation mode", "SIG007")
def noisy(fields: Fields) -> Mutant | None:
    """Only in a head that evaluation calls: a model may answer there through an average of its weights."""
    if fields.get("inputs") is None or not _is_called_in_eval(fields):
        return None
    return on_head(fields, lambda head: Wrapped(head, after=lambda x: x + 0.1 * torch.randn_like(x)))


def _is_called_in_eval(fields: Fields) -> bool:
    head, model = trace(fields).head(), fields["model"]
    if head is None:
        return False
    calls: list[nn.Module] = []
    hook = head.module.register_forward_hook(lambda *parts: calls.append(parts[0]))
    modes = {module: module.training for module in model.modules()}
    model.eval()
    with torch.no_grad():
        called(model, fields["inputs"])
    for module, mode in modes.items():
        module.training = mode
    hook.remove()
    return bool(calls)


@operator("a branch multiplied by zero", "GRD003")
def switched_off(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(nn.Linear))
    if call is None or (call.module.weight.requires_grad is False):
        return None
    replace(fields["model"], call.path, SwitchedOff(call.module))
    return Mutant(renew(fields), (f"{call.path}.extra",))


@operator("square root at zero", "GRD004")
def root_at_zero(fields: Fields) -> Mutant | None:
    return on_head(fields, lambda head: Wrapped(head, after=lambda x: x + torch.sqrt((x - x.detach()).pow(2).sum())))


# -------------------------------------------------------------------- optimizer


@operator("head replaced after the optimizer was made", "OPT002")
def stale(fields: Fields) -> Mutant | None:
    head = trace(fields).head()
    if head is None or "optimizer" not in fields:
        return None
    replace(fields["model"], head.path, copied(head.module))
    return Mutant(fields, (head.path,))


@operator("optimizer without the head", "OPT001")
def headless(fields: Fields) -> Mutant | None:
    head = trace(fields).head()
    if head is None:
        return None
    left_out = {id(parameter) for parameter in head.module.parameters()}
    kept = [parameter for parameter in trained(fields) if id(parameter) not in left_out]
    return Mutant({**fields, "optimizer": torch.optim.AdamW(kept, lr=1e-3)}, (head.path,)) if kept else None


@operator("learning rate times 1000", "OPT003", "TRN002")
def fast(fields: Fields) -> Mutant | None:
    old = fields.get("optimizer")
    if old is None or (fields.get("loss") is None and not is_classification(fields)):
        return None  # without a loss no update can be judged
    return Mutant(renew(fields, lr=1000 * old.defaults["lr"]))


@operator("learning rate 1e-10", "OPT004")
def slow(fields: Fields) -> Mutant | None:
    return Mutant(renew(fields, lr=1e-10))


@operator("learning rate 0", "OPT005")
def stopped(fields: Fields) -> Mutant | None:
    return Mutant(renew(fields, lr=0.0))


# -------------------------------------------------------------------- data


def _with_inputs(fields: Fields, change: Callable[[torch.Tensor], torch.Tensor]) -> Mutant | None:
    found = float_inputs(fields)
    return None if found is None else Mutant({**fields, "inputs": change(found.clone())})


@operator("NaN in the inputs", "DAT003")
def missing_value(fields: Fields) -> Mutant | None:
    def change(x: torch.Tensor) -> torch.Tensor:
        x[(-1,) * x.dim()] = float("nan")
        return x

    return _with_inputs(fields, change)


@operator("pixels from 0 to 255", "DAT001")
def unscaled(fields: Fields) -> Mutant | None:
    found = float_inputs(fields)
    if found is None or found.dim() != 4 or float(found.max()) > 50:
        return None  # raw pixels were meant
    return _with_inputs(fields, lambda x: (x - x.min()) / (x.max() - x.min()) * 255)


@operator("an id beyond the embedding", "DAT013")
def id_out_of_range(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(nn.Embedding, nn.EmbeddingBag), 0.0)
    inputs = fields.get("inputs")
    ids = inputs.get("input_ids") if isinstance(inputs, dict) else inputs
    if call is None or not isinstance(ids, torch.Tensor) or call.given is not ids:
        return None
    changed = ids.clone()
    changed.view(-1)[0] = call.module.num_embeddings
    if isinstance(inputs, dict):
        return Mutant({**fields, "inputs": {**inputs, "input_ids": changed}}, (call.path,))
    return Mutant({**fields, "inputs": changed}, (call.path,))
