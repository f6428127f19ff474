"""Operators that put one fault into a healthy training setup, with the code and the place at which it has to be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    Trace,
    Wrapped,
    class_dim,
    is_classification,
    labels_of,
    renew,
    replace,
    trace,
    with_labels,
)


@dataclass(frozen=True)
class Mutant:
    """A setup with one fault.

    Attributes:
        fields: the setup.
        places: module paths of which one has to be named; None where the fault is the whole setup's.
    """

    fields: Fields
    places: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Operator:
    """How a fault is made.

    Attributes:
        name: what it does, in words.
        codes: rules of which one has to report it; the first is the one it is counted for.
        apply: the mutant of a setup (which it may change), None where the setup offers no place for the fault.
    """

    name: str
    codes: tuple[str, ...]
    apply: Callable[[Fields], Mutant | None]


OPERATORS: list[Operator] = []


def operator(name: str, *codes: str) -> Callable[[Callable[[Fields], Mutant | None]], Callable[[Fields], Mutant | None]]:
    def register(apply: Callable[[Fields], Mutant | None]) -> Callable[[Fields], Mutant | None]:
        OPERATORS.append(Operator(name, codes, apply))
        return apply

    return register


def chosen(found: list[Call], share: float = 0.5) -> Call | None:
    """One of several, the same every time: in the middle unless told otherwise."""
    return found[min(int(len(found) * share), len(found) - 1)] if found else None


def on_head(fields: Fields, change: Callable[[nn.Module], nn.Module], **more: Any) -> Mutant | None:
    """The setup with its head replaced, for a classification that has one."""
    head = trace(fields).head() if is_classification(fields) else None
    if head is None:
        return None
    replace(fields["model"], head.path, change(head.module))
    return Mutant(renew({**fields, **more}), (head.path,))


# -------------------------------------------------------------------- loss and head


@operator("append softmax before cross-entropy", "LOS001")
def append_softmax(fields: Fields) -> Mutant | None:
    return on_head(fields, lambda head: nn.Sequential(head, nn.Softmax(dim=class_dim(head))))


@operator("append sigmoid before cross-entropy", "LOS002")
def append_sigmoid(fields: Fields) -> Mutant | None:
    return on_head(fields, lambda head: nn.Sequential(head, nn.Sigmoid()))


@operator("append relu before cross-entropy", "LOS017")
def append_relu(fields: Fields) -> Mutant | None:
    return on_head(fields, lambda head: nn.Sequential(head, nn.ReLU()))


@operator("dropout on the logits", "NRM006")
def append_dropout(fields: Fields) -> Mutant | None:
    return on_head(fields, lambda head: nn.Sequential(head, nn.Dropout(0.3)))


@operator("logits into NLL", "LOS003")
def nll_on_logits(fields: Fields) -> Mutant | None:
    if not is_classification(fields) or fields.get("loss") is None:
        return None
    return Mutant({**fields, "loss": nn.NLLLoss()})


@operator("log_softmax over the batch", "LOS008")
def softmax_over_batch(fields: Fields) -> Mutant | None:
    found = trace(fields)
    if fields.get("loss") is None or found.prediction is None or found.prediction.dim() != 2:
        return None
    return on_head(fields, lambda head: nn.Sequential(head, nn.LogSoftmax(dim=0)), loss=nn.NLLLoss())


@operator("log of a softmax", "LOS027")
def log_of_softmax(fields: Fields) -> Mutant | None:
    if fields.get("loss") is None:
        return None
    change = lambda head: Wrapped(head, after=lambda x: torch.log(torch.softmax(x, class_dim(head))))  # noqa: E731
    return on_head(fields, change, loss=nn.NLLLoss())


@operator("a label beyond the classes", "LOS009")
def label_out_of_range(fields: Fields) -> Mutant | None:
    head, labels = trace(fields).head(), labels_of(fields)
    if head is None or labels is None or not is_classification(fields):
        return None
    changed = labels.clone()
    changed.view(-1)[1] = head.module.weight.shape[0]
    return Mutant(with_labels(fields, changed))


@operator("every target ignored", "LOS025")
def ignore_all(fields: Fields) -> Mutant | None:
    labels = labels_of(fields)
    if labels is None or not is_classification(fields):
        return None
    return Mutant(with_labels(fields, torch.full_like(labels, -100)))


@operator("several labels through cross-entropy", "LOS013")
def multi_hot(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None or found.shape[1] < 3:
        return None
    return Mutant({**fields, "targets": (torch.rand(found.shape) < 0.5).float(), "loss": nn.CrossEntropyLoss()})


@operator("the sum over the batch as loss", "LOS021")
def sum_reduction(fields: Fields) -> Mutant | None:
    if not isinstance(fields.get("loss"), nn.CrossEntropyLoss):
        return None
    return Mutant({**fields, "loss": nn.CrossEntropyLoss(reduction="sum")})


@operator("loss of the detached output", "LOS020")
def detached_loss(fields: Fields) -> Mutant | None:
    loss, found = fields.get("loss"), prediction_of_setup(fields)
    if found is None or not callable(loss) or fields.get("targets") is None:
        return None
    return Mutant({**fields, "loss": lambda output, target: loss(_detached(output), target)})


def _detached(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.detach()
    return {name: value.detach() for name, value in output.items()}


@operator("sigmoid before BCE with logits", "LOS005")
def double_sigmoid(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    targets = torch.randint(0, 2, found.shape).float()
    made = on_head(fields, lambda head: nn.Sequential(head, nn.Sigmoid()))
    return made and Mutant({**made.fields, "loss": nn.BCEWithLogitsLoss(), "targets": targets}, made.places)


@operator("logits into BCE", "LOS006")
def logits_into_bce(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    return Mutant({**fields, "loss": nn.BCELoss(), "targets": torch.randint(0, 2, found.shape).float()})


@operator("a column against a vector", "LOS015")
def broadcast_loss(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    loss = lambda output, target: functional.mse_loss(output[:, :1], target)  # noqa: E731
    return Mutant({**fields, "loss": loss, "targets": torch.randn(len(found))})


@operator("relu for signed targets", "LOS016")
def rectified_regression(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    made = on_head(fields, lambda head: nn.Sequential(head, nn.ReLU()))
    return made and Mutant({**made.fields, "loss": nn.MSELoss(), "targets": torch.randn(found.shape)}, made.places)


def prediction_of_setup(fields: Fields) -> torch.Tensor | None:
    return trace(fields).prediction


def two_dimensional(fields: Fields) -> torch.Tensor | None:
    """The prediction of a classifier whose plain output is (samples, classes)."""
    if not is_classification(fields) or fields.get("loss") is None:
        return None
    found = prediction_of_setup(fields)
    return found if found is not None and found.dim() == 2 and found.shape[1] > 1 else None


# -------------------------------------------------------------------- architecture


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
    if isinstance(fields["model"], nn.Sequential):
        return None  # it would be called
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
    found = trace(fields)
    head = found.head()
    inner = [call for call in found.of(*LINEAR) if head is None or call.path != head.path]
    call = chosen([call for call in inner if isinstance(call.returned, torch.Tensor)])
    if call is None or head is None:
        return None
    replace(fields["model"], call.path, Wrapped(call.module, after=lambda x: x.detach()))
    return Mutant(fields, (call.path,))


@operator("centred by the batch in evaluation too", "ARC008")
def mixed(fields: Fields) -> Mutant | None:
    return on_head(fields, lambda head: Wrapped(head, before=lambda x: x - x.mean(0, keepdim=True)))


@operator("batch_first flipped", "ARC009")
def flipped(fields: Fields) -> Mutant | None:
    kinds = (nn.RNNBase, nn.MultiheadAttention)
    found = [(path, module) for path, module in fields["model"].named_modules() if isinstance(module, kinds) and module.batch_first]
    if not found:
        return None
    path, module = found[0]
    module.batch_first = False
    return Mutant(fields, (path,))


@operator("output multiplied by zero", "ARC010")
def zeroed(fields: Fields) -> Mutant | None:
    return on_head(fields, lambda head: Wrapped(head, after=lambda x: x * torch.zeros(())))


@operator("functional dropout without training=", "ARC012")
def always_dropped(fields: Fields) -> Mutant | None:
    call = chosen([call for call in trace(fields).of(nn.Linear) if bool(call.returned.any())], 0.4)
    if call is None:
        return None
    replace(fields["model"], call.path, Wrapped(call.module, after=lambda x: functional.dropout(x, 0.2)))
    return Mutant(fields, (call.path,))


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


@operator("everything frozen", "ARC020")
def frozen(fields: Fields) -> Mutant | None:
    fields["model"].requires_grad_(False)
    return Mutant({key: value for key, value in fields.items() if key not in ("optimizer", "scheduler", "frozen")})
