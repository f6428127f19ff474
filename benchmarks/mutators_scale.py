"""Operators on initialization, trained weights, size and precision; see benchmarks/mutators.py."""

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
    called,
    float_inputs,
    is_classification,
    is_shared,
    labels_of,
    optimized,
    prediction_of,
    renew,
    replace,
    trace,
    trained,
    weights,
)
from benchmarks.mutators import Mutant, chosen, inner_layer, operator, two_dimensional

#: Models with fewer parameters are trained, or probed at length, in a second or two.
SMALL = 100_000
STEPS = 200
#: How far a weight has to go, in its own norms, to count as trained.
FAR = 0.7


def _numel(fields: Fields) -> int:
    return sum(parameter.numel() for parameter in fields["model"].parameters())


# -------------------------------------------------------------------- depth and initialization


def _deepened(fields: Fields, activation: type[nn.Module], factor: float | None, depth: int = 20) -> Mutant | None:
    """A dense layer between two others with `depth` more after it, drawn at `factor` times the He scale or torch's default."""
    found = trace(fields)
    calls = [call for call in found.of(nn.Linear) if isinstance(call.given, torch.Tensor) and _is_wide(call)]
    head = found.head()
    call = chosen([call for call in calls if head is not None and call.path != head.path])
    if call is None:
        return None
    width = call.module.out_features
    more = [layer for _ in range(depth) for layer in (activation(), nn.Linear(width, width))]
    for layer in more:
        if factor is not None and isinstance(layer, nn.Linear):
            layer.weight.data.normal_(0.0, factor * math.sqrt(2 / width))
            layer.bias.data.zero_()
    replace(fields["model"], call.path, nn.Sequential(call.module, *more))
    return Mutant(renew(fields), (call.path,))


def _is_wide(call: Call) -> bool:
    return bool(call.module.out_features >= 16) and bool(call.returned.any())


@operator("twenty dense layers of torch's default initialization", "INI001")
def deep_default(fields: Fields) -> Mutant | None:
    return _deepened(fields, nn.ReLU, None)


@operator("twenty dense layers a fifth of their size", "SIG004", "GRD001", "INI001", "INI004")
def deep_fading(fields: Fields) -> Mutant | None:
    return _deepened(fields, nn.ReLU, 0.2)


@operator("twenty dense layers five times their size", "SIG005", "GRD002", "INI001", "INI003")
def deep_growing(fields: Fields) -> Mutant | None:
    return _deepened(fields, nn.ReLU, 5.0)


@operator("sigmoids between twenty dense layers", "ARC024", "GRD001")
def deep_sigmoid(fields: Fields) -> Mutant | None:
    return _deepened(fields, nn.Sigmoid, 0.5)


@operator("SELU on torch's default initialization", "INI008")
def selu_by_default(fields: Fields) -> Mutant | None:
    pairs = _before_activations(trace(fields))
    if len(pairs) < 2:
        return None
    for layer, activation in pairs:
        layer.module.reset_parameters()
        replace(fields["model"], activation.path, nn.SELU())
    return Mutant(fields, tuple(call.path for pair in pairs for call in pair))


@operator("plain dropout after SELU", "INI008")
def selu_with_dropout(fields: Fields) -> Mutant | None:
    pairs = _before_activations(trace(fields))
    if len(pairs) < 2:
        return None
    for layer, activation in pairs:
        nn.init.kaiming_normal_(layer.module.weight, nonlinearity="linear")
        replace(fields["model"], activation.path, nn.Sequential(nn.SELU(), nn.Dropout(0.2)))
    return Mutant(fields, tuple(activation.path for _, activation in pairs))


def _before_activations(found: Trace) -> list[tuple[Call, Call]]:
    """Linear maps whose output goes to an activation alone, with that activation."""
    pairs = [(found.before(call), call) for call in found.of(*ACTIVATIONS)]
    return [
        (one, other)
        for one, other in pairs
        if one is not None and type(one.module) in LINEAR and found.after(one) is other
    ]


@operator("an embedding of N(0, 1) as output matrix", "INI011", "LOS018")
def tied_to_normal(fields: Fields) -> Mutant | None:
    """Not where the model scales its hidden state or logits: they stay small, and nothing is wrong."""
    found, labels = trace(fields), labels_of(fields)
    tables = [(path, module) for path, module in fields["model"].named_modules() if type(module) is nn.Embedding]
    if found.prediction is None or labels is None or found.prediction.dim() != 3:
        return None
    tables = [(path, module) for path, module in tables if module.num_embeddings == found.prediction.shape[-1]]
    head = found.head()
    if not tables:
        return None
    path, table = tables[0]
    if head is not None:
        if not isinstance(head.module, nn.Linear) or head.module.weight.shape != table.weight.shape:
            return None
        head.module.weight = table.weight
    elif not is_shared(fields["model"], table):
        return None
    nn.init.normal_(table.weight)
    with torch.no_grad():
        logits = prediction_of(called(fields["model"], fields["inputs"]))
    if logits is None or float(logits.std(dim=-1).mean()) < 3.0:
        return None
    return Mutant(renew(fields), ("", path, *([head.path] if head is not None else [])))


# -------------------------------------------------------------------- trained weights


def _is_trainable(fields: Fields) -> bool:
    """Whether the classifier is small enough to be trained here."""
    given = float_inputs(fields)
    return (
        two_dimensional(fields) is not None and given is not None and given.numel() < 200_000 and _numel(fields) < SMALL
    )


def _train(fields: Fields) -> bool:
    """Train the model on its batch; whether the larger weights are far from their initial values then.

    A small net has learned its batch after a few steps, and its weights still are those of an initialization.
    """
    before = {path: weight.clone() for path, _, weight in weights(fields["model"]) if weight.numel() >= 1024}
    optimizer = torch.optim.AdamW(trained(fields), lr=1e-2, weight_decay=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        fields["loss"](prediction_of(called(fields["model"], fields["inputs"])), fields["targets"]).backward()
        optimizer.step()
    optimizer.zero_grad()
    after = {path: weight for path, _, weight in weights(fields["model"])}
    return all(float((after[path] - old).norm()) > FAR * float(old.norm()) for path, old in before.items())


@operator("a layer left out of the checkpoint", "INI013")
def left_random(fields: Fields) -> Mutant | None:
    if not _is_trainable(fields):
        return None
    found = trace(fields)
    head = found.head()
    calls = [call for call in found.of(*LINEAR) if call.module.weight.numel() >= 1024]
    call = chosen(calls[1:-1])  # what a layer lacks shows by the trained ones around it
    if call is None or head is None or call.path == head.path:
        return None
    if not _train(fields):
        return None
    call.module.reset_parameters()
    return Mutant(renew(fields), (call.path,))


@operator("running statistics of other data", "NRM011")
def foreign_statistics(fields: Fields) -> Mutant | None:
    calls = [call for call in trace(fields).of(*NORMS) if call.module.track_running_stats]
    if not calls or not _is_trainable(fields):
        return None
    if not _train(fields):
        return None
    for call in calls:
        call.module.running_mean.add_(2 * call.module.running_var.sqrt())
        call.module.running_var.mul_(10)
    return Mutant(renew(fields), tuple(call.path for call in calls))


# -------------------------------------------------------------------- size, precision


@operator("a larger picture flattened into a dense layer", "ARC015")
def flattened(fields: Fields) -> Mutant | None:
    """What fitted small pictures, taken over to larger ones: the dense layer after the flattening grows with them."""
    found, given, labels = trace(fields), float_inputs(fields), labels_of(fields)
    flats = [(found.before(call), call) for call in found.of(nn.Linear)]
    calls = [
        call for flat, call in flats if flat is not None and type(flat.module) is nn.Flatten and flat.given.dim() == 4
    ]
    if not calls or given is None or given.dim() != 4 or labels is None or two_dimensional(fields) is None:
        return None
    layer, inputs = calls[0].module, given[:8]
    for size in (64, 128, 256):
        features = layer.in_features * size**2 // (given.shape[2] * given.shape[3])
        dense = features * layer.out_features
        others = _numel(fields) - layer.weight.numel()
        if dense > 1.05e6 and dense > 0.91 * (dense + others) and features > 105 * layer.out_features:
            return _flattened(fields, calls[0], functional.interpolate(inputs, size=(size, size), mode="bilinear"))
    return None


def _flattened(fields: Fields, call: Call, inputs: torch.Tensor) -> Mutant:
    replace(fields["model"], call.path, nn.LazyLinear(call.module.out_features))
    try:
        with torch.no_grad():
            called(fields["model"], inputs)
    except RuntimeError as error:
        raise NotApplicable from error  # another layer is made for one size too
    labels = labels_of(fields)
    assert labels is not None
    return Mutant(renew({**fields, "inputs": inputs, "targets": labels[: len(inputs)]}), (call.path,))


@operator("an average over many cells before the head", "ARC015")
def widely_pooled(fields: Fields) -> Mutant | None:
    """A head on (channels, k, k) means in place of one mean for each channel."""
    found = trace(fields)
    head = found.head()
    pools = [call for call in found.calls if type(call.module) is nn.AdaptiveAvgPool2d and call.returned.shape[2:].numel() == 1]
    if head is None or type(head.module) is not nn.Linear or len(pools) != 1 or not is_classification(fields):
        return None
    channels, classes = pools[0].returned.shape[1], head.module.out_features
    others = _numel(fields) - head.module.weight.numel()
    for size in (7, 14, 28, 56, 112):
        dense = channels * size**2 * classes
        if dense > 1.05e6 and dense > 0.91 * (dense + others) and channels * size**2 > 105 * classes:
            pools[0].module.output_size = size
            replace(fields["model"], head.path, nn.Linear(channels * size**2, classes))
            _must_run(fields)
            return Mutant(renew(fields), (head.path,))
    return None


def _must_run(fields: Fields) -> None:
    try:
        trace(fields)
    except RuntimeError as error:
        raise NotApplicable from error  # nothing flattens the cells


@operator("pictures too small for the strides", "ARC014")
def small_pictures(fields: Fields) -> Mutant | None:
    given = float_inputs(fields)
    dense = [
        call for call in trace(fields).of(nn.Conv2d) if min(call.module.kernel_size) >= 3 and call.module.groups == 1
    ]
    if given is None or given.dim() != 4 or len(dense) < 4 or min(given.shape[2:]) < 64:
        return None
    inputs = functional.interpolate(given, size=(16, 16), mode="bilinear")
    found = _smallest(fields, inputs, dense)
    return Mutant({**fields, "inputs": inputs}, found) if found else None


def _smallest(fields: Fields, inputs: torch.Tensor, calls: list[Call]) -> tuple[str, ...]:
    """The convolutions that see a single position, if they hold at least a quarter of the weights."""
    sizes: dict[str, int] = {}
    hooks = [
        call.module.register_forward_pre_hook(
            lambda *parts, path=call.path: sizes.update({path: max(parts[1][0].shape[2:])})
        )
        for call in calls
    ]
    try:
        with torch.no_grad():
            called(fields["model"], inputs)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise NotApplicable from error
    finally:
        for hook in hooks:
            hook.remove()
    alone = [call for call in calls if sizes.get(call.path) == 1]
    return (
        tuple(call.path for call in alone)
        if 4 * sum(call.module.weight.numel() for call in alone) > _numel(fields)
        else ()
    )


@operator("values beyond the range of fp16", "SIG008")
def beyond_half(fields: Fields) -> Mutant | None:
    call = inner_layer(fields)
    if call is None or not isinstance(call.returned, torch.Tensor) or not bool(call.returned.any()):
        return None
    factor = 1e6 / float(call.returned.detach().float().std())
    replace(fields["model"], call.path, Wrapped(call.module, after=lambda x: (factor * x + 1.0) / factor))
    return Mutant({**fields, "precision": "fp16"}, (call.path,))


@operator("Adam with eps 0", "OPT008")
def no_epsilon(fields: Fields) -> Mutant | None:
    return Mutant(optimized(fields, torch.optim.AdamW, lr=1e-3, eps=0.0))


@operator("Adam on weights in half precision", "OPT008")
def half_weights(fields: Fields) -> Mutant | None:
    given = float_inputs(fields)
    if given is None or given.dtype != torch.float32 or two_dimensional(fields) is None:
        return None
    fields["model"].half()
    try:
        with torch.no_grad():
            called(fields["model"], given.half())
    except (RuntimeError, TypeError) as error:
        raise NotApplicable from error  # not all operations exist in half precision on a CPU
    return Mutant(optimized({**fields, "inputs": given.half()}, torch.optim.Adam, lr=1e-3))


@operator("small features on a large constant", "SIG006", "TRN001", "ARC010", probes=("overfit",))
def collapsed(fields: Fields) -> Mutant | None:
    """Where the batch cannot be learned at all that is the finding, about the whole model, with SIG006 listed below it."""
    head = trace(fields).head() if is_classification(fields) and two_dimensional(fields) is not None else None
    if head is None or not isinstance(head.module, nn.Linear) or head.given.dim() != 2 or _numel(fields) > SMALL:
        return None
    common = torch.randn(head.module.in_features)
    replace(fields["model"], head.path, Wrapped(head.module, before=lambda x: common + 1e-5 * x))
    return Mutant(fields, (head.path, ""))


class _Tanh(torch.autograd.Function):
    """A tanh whose hand-written gradient forgets to square."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        value = torch.tanh(x)
        ctx.save_for_backward(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (value,) = ctx.saved_tensors
        return gradients[0] * (1 - value)


@operator("a tanh with a wrong gradient", "GRD007", probes=("gradcheck",))
def wrong_gradient(fields: Fields) -> Mutant | None:
    call = inner_layer(fields)
    if call is None or _numel(fields) > SMALL:
        return None
    replace(fields["model"], call.path, Wrapped(call.module, after=_Tanh.apply))
    return Mutant(fields, (call.path,))
