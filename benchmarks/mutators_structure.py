"""Operators on the architecture; see benchmarks/mutators.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.mutation_tools import (
    ACTIVATIONS,
    LINEAR,
    NORMS,
    PASSING,
    Call,
    Created,
    Discarded,
    Fields,
    Listed,
    NotApplicable,
    Trace,
    Wrapped,
    is_shared,
    labels_of,
    mixes,
    renew,
    replace,
    trace,
)
from benchmarks.mutators import Mutant, chosen, inner_layer, on_head, operator


def _between_linear(found: Trace) -> list[Call]:
    """Activations whose loss joins two linear maps, with no rank lost between them."""
    return [call for call in found.of(*ACTIVATIONS) if (pair := _neighbours(found, call)) and _is_redundant(*pair)]


def _neighbours(found: Trace, call: Call) -> tuple[nn.Module, nn.Module] | None:
    before, after = found.before(call), found.after(call)
    while before is not None and isinstance(before.module, PASSING):
        before = found.before(before)
    while after is not None and isinstance(after.module, PASSING):
        after = found.after(after)
    if before is None or after is None or type(before.module) is not type(after.module):
        return None
    return (before.module, after.module) if isinstance(before.module, nn.Linear) else None


def _is_redundant(first: nn.Module, second: nn.Module) -> bool:
    """Whether the product of both has no smaller rank than either could have alone."""
    inner = first.weight.shape[0]
    return bool(inner >= min(first.weight.shape[1], second.weight.shape[0]))


@operator("drop an activation between linear layers", "ARC005")
def drop_activation(fields: Fields) -> Mutant | None:
    found = trace(fields)
    call = chosen(_between_linear(found))
    if call is None:
        return None
    before, after = found.before(call), found.after(call)
    replace(fields["model"], call.path, nn.Identity())
    return Mutant(fields, tuple(other.path for other in (before, after) if other is not None))


@operator("softmax as a hidden activation", "ARC019")
def hidden_softmax(fields: Fields) -> Mutant | None:
    call = chosen(_between_linear(trace(fields)))
    if call is None:
        return None
    replace(fields["model"], call.path, nn.Softmax(dim=-1))
    return Mutant(fields, (call.path,))


@operator("a layer that is never called", "ARC001")
def unused_layer(fields: Fields) -> Mutant | None:
    if isinstance(fields["model"], (nn.Sequential, torch.jit.ScriptModule)) or hasattr(fields["model"], "_orig_mod"):
        return None  # it would be called, or goes to a wrapper
    fields["model"].spare_layer = nn.Linear(16, 16)
    return Mutant(renew(fields), ("spare_layer",))


@operator("the result of a layer not used", "ARC002")
def discarded(fields: Fields) -> Mutant | None:
    call = chosen([call for call in trace(fields).of(*LINEAR) if call.keeps_shape])
    if call is None:
        return None
    replace(fields["model"], call.path, Discarded(call.module))
    return Mutant(fields, (call.path,))


@operator("a layer in a python list", "ARC003")
def listed(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(nn.Linear))
    if call is None:
        return None
    replace(fields["model"], call.path, Listed(call.module))
    return Mutant(renew(fields), (call.path,))


@operator("a layer made in forward", "ARC004")
def created(fields: Fields) -> Mutant | None:
    call = chosen(trace(fields).of(nn.Linear))
    if call is None:
        return None
    replace(fields["model"], call.path, Created(call.module.in_features, call.module.out_features))
    return Mutant(renew(fields), (call.path,))


@operator("detach in the middle", "ARC007")
def detached(fields: Fields) -> Mutant | None:
    call = inner_layer(fields)
    if call is None:
        return None
    replace(fields["model"], call.path, Wrapped(call.module, after=lambda x: x.detach()))
    return Mutant(fields, (call.path,))


@operator("centred by the batch in evaluation too", "ARC008")
def mixed(fields: Fields) -> Mutant | None:
    if mixes(fields):
        return None
    return on_head(fields, lambda head: Wrapped(head, before=lambda x: x - x.mean(0, keepdim=True)))


@operator("batch_first of a recurrent layer flipped", "ARC009")
def flipped_recurrence(fields: Fields) -> Mutant | None:
    return _flipped(fields, nn.RNNBase)


@operator("batch_first of an attention flipped", "ARC009")
def flipped_attention(fields: Fields) -> Mutant | None:
    return _flipped(fields, nn.MultiheadAttention)


def _flipped(fields: Fields, kind: type[nn.Module]) -> Mutant | None:
    """Only where something tells the layouts apart (targets of one axis, or another layer of sequences that stays as it is).

    Otherwise the mutant is a healthy model of time-major data. A packed sequence knows its layout, for a single position there
    is nothing to confuse, and where the shapes do not fit torch says so itself.
    """
    found: list[tuple[str, nn.Module]] = []

    def note(path: str) -> Callable[..., None]:
        return lambda module, given, more: found.append((path, module)) if _is_plain(given, more) else None

    named = [
        (path, module)
        for path, module in fields["model"].named_modules()
        if isinstance(module, kind) and module.batch_first
    ]
    hooks = [module.register_forward_pre_hook(note(path), with_kwargs=True) for path, module in named]
    before = trace(fields).prediction
    for hook in hooks:
        hook.remove()
    if not found:
        return None
    path, module = found[0]
    labels = labels_of(fields)
    others = [
        one
        for one in fields["model"].modules()
        if isinstance(one, (nn.RNNBase, nn.MultiheadAttention)) and one is not module
    ]
    if not others and (labels is None or labels.dim() != 1):
        return None
    module.batch_first = False
    try:
        after = trace(fields).prediction
    except (RuntimeError, ValueError, AssertionError) as error:
        raise NotApplicable from error
    fits = before is None or (after is not None and after.shape == before.shape)
    return Mutant(fields, (path,)) if fits else None


def _is_plain(given: tuple[object, ...], more: Mapping[str, object]) -> bool:
    values = given[0] if given else next(iter(more.values()), None)
    return isinstance(values, torch.Tensor) and values.dim() == 3 and min(values.shape[:2]) > 1


@operator("output multiplied by zero", "ARC010")
def zeroed(fields: Fields) -> Mutant | None:
    return on_head(fields, lambda head: Wrapped(head, after=lambda x: x * torch.zeros(())))


@operator("functional dropout without training=", "ARC012")
def always_dropped(fields: Fields) -> Mutant | None:
    found = trace(fields)
    head = found.head()
    inner = [
        call for call in found.of(nn.Linear) if bool(call.returned.any()) and (head is None or call.path != head.path)
    ]
    call = chosen(inner, 0.4)
    if call is None or _is_closed(fields, call):
        return None
    replace(fields["model"], call.path, Wrapped(call.module, after=lambda x: functional.dropout(x, 0.2)))
    return Mutant(fields, (call.path,))


def _is_closed(fields: Fields, call: Call) -> bool:
    """Whether a zero-initialized gate or head hides what the layer gives."""
    before = trace(fields).prediction
    hook = call.module.register_forward_hook(lambda *parts: parts[2] + 1.0)
    after = trace(fields).prediction
    hook.remove()
    return before is None or after is None or torch.allclose(before, after)


@operator("one norm for two places", "ARC016")
def shared_norm(fields: Fields) -> Mutant | None:
    found = trace(fields).of(*NORMS)
    pairs = [(a, b) for a, b in zip(found, found[1:], strict=False) if a.module.num_features == b.module.num_features]
    if not pairs:
        return None
    first, second = pairs[0]
    replace(fields["model"], second.path, first.module)
    return Mutant(renew(fields), (first.path, second.path))


@operator("[layer] * n", "ARC017")
def repeated_layer(fields: Fields) -> Mutant | None:
    found = [call for call in trace(fields).of(nn.Linear) if call.keeps_shape]
    pairs = [(a, b) for a, b in zip(found, found[1:], strict=False) if _are_siblings(fields, a, b)]
    if not pairs:
        return None
    first, second = pairs[0]
    replace(fields["model"], second.path, first.module)
    return Mutant(renew(fields), (first.path, second.path))


def _are_siblings(fields: Fields, one: Call, other: Call) -> bool:
    """Whether both are of one size and in one sequence."""
    parents = {call.path.rpartition(".")[0] for call in (one, other)}
    in_sequence = len(parents) == 1 and isinstance(fields["model"].get_submodule(parents.pop()), nn.Sequential)
    return in_sequence and one.module.weight.shape == other.module.weight.shape


@operator("[block] * n in a list of blocks", "ARC017")
def repeated_block(fields: Fields) -> Mutant | None:
    """Blocks of one kind and size whose calls follow each other."""
    model: nn.Module = fields["model"]
    for path, container in model.named_modules():
        blocks = list(container) if type(container) in (nn.Sequential, nn.ModuleList) else []
        for index, (one, other) in enumerate(itertools.pairwise(blocks)):
            if _are_alike(model, one, other) and _follow(fields, one, other):
                container[index + 1] = one
                names = (f"{path}.{index}", f"{path}.{index + 1}") if path else (str(index), str(index + 1))
                return Mutant(renew(fields), names)
    return None


def _are_alike(model: nn.Module, one: nn.Module, other: nn.Module) -> bool:
    """Whether two blocks could be two references to one, and are not, nor tied to anything."""
    shapes = [[(name, value.shape) for name, value in block.named_parameters()] for block in (one, other)]
    free = not any(is_shared(model, module) for block in (one, other) for module in block.modules())
    trained = all(parameter.requires_grad for parameter in other.parameters())
    return type(one) is type(other) and one is not other and bool(shapes[0]) and shapes[0] == shapes[1] and free and trained


def _follow(fields: Fields, one: nn.Module, other: nn.Module) -> bool:
    """Whether each is called once, and the second is given what the first gave."""
    given: list[object] = []
    returned: list[object] = []

    def leaves(*parts: Any) -> None:
        returned.append(parts[2][0] if isinstance(parts[2], tuple) else parts[2])

    def comes(_: nn.Module, args: tuple[Any, ...], more: dict[str, Any]) -> None:
        given.append(args[0] if args else next(iter(more.values()), None))

    first = one.register_forward_hook(leaves)
    second = other.register_forward_pre_hook(comes, with_kwargs=True)
    try:
        trace(fields)
    finally:
        first.remove()
        second.remove()
    return len(given) == len(returned) == 1 and given[0] is returned[0]


@operator("everything frozen", "ARC020")
def frozen(fields: Fields) -> Mutant | None:
    fields["model"].requires_grad_(False)
    return Mutant({key: value for key, value in fields.items() if key not in ("optimizer", "scheduler", "frozen")})
