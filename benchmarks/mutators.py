"""Operators that put one fault into a healthy training setup, with the code and the place at which it has to be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.mutation_tools import (
    LINEAR,
    Call,
    Fields,
    Wrapped,
    class_dim,
    is_classification,
    labels_of,
    optimized,
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
        probes: longer probes that the rule needs.
        level: the level that the rule's page gives this form of the fault, where it is not the rule's own.
    """

    name: str
    codes: tuple[str, ...]
    apply: Callable[[Fields], Mutant | None]
    probes: tuple[str, ...] = ()
    level: str = ""


OPERATORS: list[Operator] = []


def operator(
    name: str, *codes: str, probes: tuple[str, ...] = (), level: str = ""
) -> Callable[[Callable[[Fields], Mutant | None]], Callable[[Fields], Mutant | None]]:
    """Register a function as an operator."""

    def register(apply: Callable[[Fields], Mutant | None]) -> Callable[[Fields], Mutant | None]:
        OPERATORS.append(Operator(name, codes, apply, probes, level))
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


def inner_layer(fields: Fields, *kinds: type[nn.Module]) -> Call | None:
    """A trained linear map before the head."""
    found = trace(fields)
    head = found.head()
    if head is None:
        return None
    return chosen([call for call in found.of(*(kinds or LINEAR)) if call.path != head.path])


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


@operator("log_softmax over the batch", "LOS008", "ARC008")
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
    ignored = getattr(fields.get("loss"), "ignore_index", -100)
    return Mutant(with_labels(fields, torch.full_like(labels, ignored)))


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
    fields = optimized(fields, torch.optim.SGD, lr=0.1, momentum=0.9)  # a small rate may make up for the sum
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
    if isinstance(output, tuple):
        return tuple(map(_detached, output))
    for name in [name for name, value in output.items() if isinstance(value, torch.Tensor)]:
        output[name] = output[name].detach()
    return output


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
