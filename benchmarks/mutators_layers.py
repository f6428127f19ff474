"""More operators on layers, their order, their weights and what they give; see benchmarks/mutators.py."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.mutation_tools import (
    ACTIVATIONS,
    LINEAR,
    NORMS,
    Call,
    Fields,
    NotApplicable,
    Trace,
    Wrapped,
    copied,
    float_inputs,
    gradients,
    is_classification,
    labels_of,
    mixes,
    renew,
    replace,
    trace,
)
from benchmarks.mutators import Mutant, chosen, inner_layer, on_head, operator, two_dimensional

SQUASHING = (nn.Sigmoid, nn.Tanh)


# -------------------------------------------------------------------- gradients and samples


@operator("rescaled under no_grad", "ARC007")
def without_gradient(fields: Fields) -> Mutant | None:
    call = inner_layer(fields)
    if call is None or not isinstance(call.given, torch.Tensor) or not call.given.requires_grad:
        return None
    before = gradients(fields)
    replace(fields["model"], call.path, Wrapped(call.module, before=torch.no_grad()(lambda x: 0.9 * x)))
    return Mutant(fields, (call.path,)) if gradients(fields) < before else None  # another way may be left


@operator("rounded in the middle", "ARC007")
def rounded(fields: Fields) -> Mutant | None:
    call = inner_layer(fields)
    if call is None:
        return None
    replace(fields["model"], call.path, Wrapped(call.module, after=torch.round))
    return Mutant(fields, (call.path,))


@operator("a reshape that mixes the samples", "ARC008", "ARC029")
def reshaped(fields: Fields) -> Mutant | None:
    head = trace(fields).head() if two_dimensional(fields) is not None else None
    if head is None or not isinstance(head.given, torch.Tensor) or head.given.dim() != 2 or mixes(fields):
        return None
    return on_head(fields, lambda layer: Wrapped(layer, before=lambda x: x.reshape(x.shape[1], x.shape[0]).t()))


@operator("a mean over time in a causal model", "ARC018")
def leaking(fields: Fields) -> Mutant | None:
    found = trace(fields).prediction
    causal = fields.get("causal") or type(fields["model"]).__name__.endswith(("ForCausalLM", "LMHeadModel"))
    if not causal or found is None or found.dim() != 3:
        return None
    return on_head(fields, lambda head: Wrapped(head, before=lambda x: x + x.mean(time_dim(head), keepdim=True)))


def time_dim(head: nn.Module) -> int:
    """The axis of time where a layer takes sequences: a convolution takes channels first."""
    return 2 if isinstance(head, nn.Conv1d) else 1


@operator("half of the features not read", "ARC011")
def half_read(fields: Fields) -> Mutant | None:
    call = _first_layer(fields)
    if call is None or not isinstance(call.module, nn.Linear) or call.given.dim() != 2:
        return None
    replace(fields["model"], call.path, Wrapped(call.module, before=_half))
    return Mutant(fields, ("", call.path))


def _half(x: torch.Tensor) -> torch.Tensor:
    width = x.shape[1] // 2
    return functional.pad(x[:, :width], (0, x.shape[1] - width))


@operator("the input changed in place", "ARC022")
def in_place(fields: Fields) -> Mutant | None:
    call = _first_layer(fields)
    if call is None:
        return None
    replace(fields["model"], call.path, Wrapped(call.module, before=lambda x: x.mul_(0.9)))
    return Mutant(fields, ("", call.path))


def _first_layer(fields: Fields) -> Call | None:
    """The linear map that reads the model's input itself, if no other module does."""
    inputs, found = float_inputs(fields), trace(fields)
    readers = [call for call in found.calls if call.given is inputs]
    return next((call for call in found.of(*LINEAR) if len(readers) == 1 and call in readers), None)


# -------------------------------------------------------------------- structure


@operator("a second squashing after the first", "ARC006")
def squashed_twice(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(*SQUASHING))
    if call is None:
        return None
    replace(fields["model"], call.path, nn.Sequential(call.module, nn.Sigmoid()))
    return Mutant(fields, (call.path,))


@operator("a kernel smaller than its stride", "ARC013")
def skipping(fields: Fields) -> Mutant | None:
    found = trace(fields).of(nn.Conv2d)
    call = next((call for call in found if min(call.module.kernel_size) >= 3 and call.module.groups == 1), None)
    if call is None:
        return None
    old = call.module
    replace(fields["model"], call.path, nn.Conv2d(old.in_channels, old.out_channels, 2, 3, bias=old.bias is not None))
    try:
        trace(fields)
    except RuntimeError as error:
        raise NotApplicable from error  # the smaller picture does not fit what follows
    return Mutant(renew(fields), (call.path,))


@operator("dropout before max pooling", "ARC023")
def dropped_before_pool(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(nn.MaxPool2d, nn.MaxPool1d))
    if call is None:
        return None
    replace(fields["model"], call.path, nn.Sequential(nn.Dropout(0.5), call.module))
    return Mutant(fields, (call.path,))


@operator("module.requires_grad = False", "ARC025")
def frozen_in_name(fields: Fields) -> Mutant | None:
    call = inner_layer(fields)
    if call is None:
        return None
    call.module.requires_grad = False
    return Mutant(fields, (call.path,))


@operator("a branch added to itself", "ARC026")
def doubled(fields: Fields) -> Mutant | None:
    call = chosen([call for call in trace(fields).of(*LINEAR) if call.keeps_shape])
    if call is None:
        return None
    replace(fields["model"], call.path, Wrapped(call.module, after=lambda x: x + x))
    return Mutant(fields, (call.path,))


@operator("a hidden layer of one unit", "ARC028")
def pinched(fields: Fields) -> Mutant | None:
    found, head = two_dimensional(fields), trace(fields).head()
    if found is None or head is None or found.shape[1] < 3 or not isinstance(head.module, nn.Linear):
        return None
    if head.module.in_features < 8:
        return None
    width = head.module.in_features
    return on_head(
        fields, lambda layer: nn.Sequential(nn.Linear(width, 1), nn.Tanh(), nn.Linear(1, layer.out_features))
    )


# -------------------------------------------------------------------- norms and dropout


@operator("one group for each unit", "NRM008")
def one_value_groups(fields: Fields) -> Mutant | None:
    call = inner_layer(fields, nn.Linear)
    if call is None or call.returned.dim() != 2:
        return None
    width = call.module.out_features
    replace(fields["model"], call.path, nn.Sequential(call.module, nn.GroupNorm(width, width)))
    return Mutant(renew(fields), (call.path,))


@operator("batch norm over four samples", "NRM009")
def few_samples(fields: Fields) -> Mutant | None:
    inputs, targets = float_inputs(fields), fields.get("targets")
    if inputs is None or not isinstance(targets, torch.Tensor) or len(inputs) != len(targets):
        return None
    found = trace(fields).of(nn.BatchNorm1d)
    calls = [call for call in found if call.given.dim() == 2 and len(call.given) == len(inputs)]  # not the nodes of graphs
    if not calls:
        return None
    return Mutant({**fields, "inputs": inputs[:4], "targets": targets[:4]}, tuple(call.path for call in calls))


@operator("batch norm before the head over four samples", "NRM009")
def few_samples_before_the_head(fields: Fields) -> Mutant | None:
    inputs, labels, head = float_inputs(fields), labels_of(fields), trace(fields).head()
    if inputs is None or labels is None or head is None or not isinstance(head.given, torch.Tensor) or head.given.dim() != 2:
        return None
    if type(head.module) is not nn.Linear or len(head.given) != len(inputs) or len(labels) != len(inputs):
        return None
    replace(fields["model"], head.path, nn.Sequential(nn.BatchNorm1d(head.module.in_features), head.module))
    return Mutant(renew({**fields, "inputs": inputs[:4], "targets": labels[:4]}), (f"{head.path}.0",))


@operator("everything dropped", "NRM005")
def all_dropped(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(nn.Dropout))
    if call is None:
        return None
    call.module.p = 1.0
    return Mutant(fields, (call.path,))


@operator("dropout of pictures on sequences", "NRM014")
def wrong_rank(fields: Fields) -> Mutant | None:
    if any(isinstance(module, nn.Conv1d) for module in fields["model"].modules()):
        return None  # its axis 1 may well hold channels
    call = chosen([call for call in trace(fields).of(nn.Dropout) if call.given.dim() == 3])
    if call is None:
        return None
    replace(fields["model"], call.path, nn.Dropout2d(0.3))
    return Mutant(fields, (call.path,))


@operator("dropout in a recurrent layer of one", "NRM015")
def inert_dropout(fields: Fields) -> Mutant | None:
    kinds = (nn.LSTM, nn.GRU, nn.RNN)
    found = [
        (path, module)
        for path, module in fields["model"].named_modules()
        if type(module) in kinds and module.num_layers == 1
    ]
    if not found:
        return None
    path, module = found[0]
    module.dropout = 0.3
    return Mutant(fields, (path,))


@operator("momentum 0 in a batch norm", "NRM007")
def no_momentum(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(*NORMS))
    if call is None:
        return None
    call.module.momentum = 0.0
    return Mutant(fields, (call.path,))


@operator("a bias before batch norm", "NRM004")
def needless_bias(fields: Fields) -> Mutant | None:
    found = trace(fields)
    pairs = [(found.before(call), call) for call in found.of(*NORMS) if call.module.affine]
    layers = [one for one, _ in pairs if one is not None and type(one.module) in LINEAR and one.module.bias is None]
    call = chosen([one for one in layers if found.after(one) is not None])
    if call is None:
        return None
    call.module.bias = nn.Parameter(torch.zeros(call.module.weight.shape[0]))
    return Mutant(renew(fields), (call.path,))


# -------------------------------------------------------------------- weights and signal


@operator("weights all negative before a relu", "SIG001")
def all_negative(fields: Fields) -> Mutant | None:
    found = trace(fields)
    layers = [found.before(call) for call in found.of(nn.ReLU)]
    sources = [
        (layer, found.before(layer)) for layer in layers if layer is not None and type(layer.module) is nn.Linear
    ]
    call = chosen([layer for layer, source in sources if source is not None and isinstance(source.module, nn.ReLU)])
    if call is None:
        return None
    call.module.weight.data.abs_().neg_()
    if call.module.bias is not None:
        call.module.bias.data.zero_()
    after = found.after(call)
    return Mutant(fields, tuple(one.path for one in (call, after) if one is not None))


@operator("a sigmoid or tanh of large values", "SIG002")
def saturated(fields: Fields) -> Mutant | None:
    found = trace(fields)
    calls = [call for call in found.of(*SQUASHING) if isinstance(call.given, torch.Tensor)]
    call = chosen([call for call in calls if _is_hidden(found, call)])
    if call is None:
        return None
    factor = 30 / max(float(call.given.detach().std()), 1e-3)
    replace(fields["model"], call.path, nn.Sequential(Wrapped(nn.Identity(), after=lambda x: x * factor), call.module))
    return Mutant(fields, (call.path,))


@operator("a tanh of large values for the hidden activation", "SIG002")
def saturated_hidden(fields: Fields) -> Mutant | None:
    """As after sums of many large features that nothing normalizes."""
    found = trace(fields)
    calls = [call for call in found.of(*ACTIVATIONS) if call.keeps_shape and _is_hidden(found, call)]
    call = chosen([one for one in calls if float(one.given.detach().std()) > 1e-3])
    if call is None:
        return None
    factor = 30 / float(call.given.detach().std())
    replace(fields["model"], call.path, nn.Sequential(Wrapped(nn.Identity(), after=lambda x: x * factor), nn.Tanh()))
    return Mutant(fields, (call.path,))


def _is_hidden(found: Trace, call: Call) -> bool:
    """Whether another layer reads the values: neither a gate nor the output."""
    after = found.after(call)
    return after is not None and type(after.module) in LINEAR


@operator("recurrent weights of spectral radius 6", "INI010")
def wild_recurrence(fields: Fields) -> Mutant | None:
    kinds = (nn.LSTM, nn.GRU, nn.RNN)
    found = [(path, module) for path, module in fields["model"].named_modules() if type(module) in kinds]
    if not found or "parametrizations" in vars(found[0][1])["_modules"]:
        return None
    path, module = found[0]
    for name, weight in module.named_parameters():
        if name.startswith("weight_hh"):
            weight.data.normal_(0.0, 6 / math.sqrt(weight.shape[1]))
    return Mutant(fields, (path,))


@operator("a layer copied from its neighbour", "INI007")
def cloned(fields: Fields) -> Mutant | None:
    calls = [call for call in trace(fields).of(nn.Linear) if call.keeps_shape]
    pairs = [(a, b) for a, b in zip(calls, calls[1:], strict=False) if a.module.weight.shape == b.module.weight.shape]
    if not pairs:
        return None
    first, second = pairs[0]
    second.module.weight.data.copy_(first.module.weight.data)
    return Mutant(fields, (first.path, second.path))


@operator("dropout without rescaling", "SIG010")
def unscaled_dropout(fields: Fields) -> Mutant | None:
    head = trace(fields).head()
    if head is None or not is_classification(fields):
        return None
    new = _Thinned(copied(head.module))
    replace(fields["model"], head.path, new)
    return Mutant(renew(fields), ("", head.path))


class _Thinned(nn.Module):
    """Four fifths of the features are dropped in training, and nothing makes up for it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x * (torch.rand_like(x) > 0.8) if self.training else x)
