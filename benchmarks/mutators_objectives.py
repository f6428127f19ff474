"""Operators on losses of several terms, targets made by networks, class weights, and heads that are written out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.mutation_tools import Fields, Wrapped, class_dim, is_classification, labels_of, optimized, trace
from benchmarks.mutators import Mutant, on_head, operator, two_dimensional
from benchmarks.mutators_data import repeated


def _exponential(x: torch.Tensor, dim: int) -> torch.Tensor:
    e = torch.exp(x - x.amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


@operator("softmax written out before cross-entropy", "LOS001")
def written_softmax(fields: Fields) -> Mutant | None:
    return on_head(fields, lambda head: Wrapped(head, after=lambda x: _exponential(x, class_dim(head))))


@operator("probabilities of an own kind before cross-entropy", "LOS001")
def own_probabilities(fields: Fields) -> Mutant | None:
    change = lambda x, dim: functional.softplus(x) / functional.softplus(x).sum(dim, keepdim=True)  # noqa: E731
    return on_head(fields, lambda head: Wrapped(head, after=lambda x: change(x, class_dim(head))))


@operator("sigmoid written out before BCE with logits", "LOS005")
def written_sigmoid(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    more = {"loss": nn.BCEWithLogitsLoss(), "targets": torch.randint(0, 2, found.shape).float()}
    return on_head(fields, lambda head: Wrapped(head, after=lambda x: 1 / (1 + torch.exp(-x))), **more)


@operator("log_softmax before BCE with logits", "LOS005")
def log_softmax_before_bce(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    more = {"loss": nn.BCEWithLogitsLoss(), "targets": torch.randint(0, 2, found.shape).float()}
    return on_head(fields, lambda head: nn.Sequential(head, nn.LogSoftmax(dim=-1)), **more)


@operator("several labels in a cross-entropy by hand", "LOS013", level="warning")
def several_labels_by_hand(fields: Fields) -> Mutant | None:
    """Sets of different sizes on 32 rows at least; few rows, or sets of one size, may be meant."""
    found = two_dimensional(fields)
    if found is None or found.shape[1] < 4:
        return None
    if len(found) < 32:
        made = repeated(fields, 32)
        if made is None:
            return None
        fields = {**fields, "inputs": made[0]}
    rows = max(32, len(found))
    targets = (torch.rand(rows, found.shape[1]) < 0.4).float()
    loss = lambda output, y: -(output.log_softmax(-1) * y).sum(-1).mean()  # noqa: E731
    return Mutant({**fields, "loss": loss, "targets": targets})


@operator("cross-entropy by hand, summed over the batch", "LOS021")
def summed_by_hand(fields: Fields) -> Mutant | None:
    found, labels = two_dimensional(fields), labels_of(fields)
    if found is None or labels is None or labels.shape != found.shape[:1] or len(found) < 4:
        return None

    def loss(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -(functional.one_hot(y, output.shape[1]) * output.log_softmax(1)).sum()

    fields = optimized(fields, torch.optim.SGD, lr=0.1, momentum=0.9)  # Adam takes no notice of a factor
    return Mutant({**fields, "loss": loss})


def _probabilities(output: torch.Tensor) -> torch.Tensor:
    return output.flatten(1).log_softmax(1)


@operator("a second term on a detached output", "LOS035")
def detached_term(fields: Fields) -> Mutant | None:
    loss = fields.get("loss")
    if loss is None or not is_classification(fields):
        return None
    shape = lambda output: -_probabilities(output.detach()).mean()  # noqa: E731
    return Mutant({**fields, "loss": lambda output, y: loss(output, y) + 0.1 * shape(output)})


@operator("a second term under no_grad", "LOS035")
def term_without_gradients(fields: Fields) -> Mutant | None:
    loss = fields.get("loss")
    if loss is None or not is_classification(fields):
        return None

    def total(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            spread = _probabilities(output).std()
        return loss(output, y) + spread

    return Mutant({**fields, "loss": total})


@operator("a second term in another unit", "LOS036")
def dominant_term(fields: Fields) -> Mutant | None:
    loss, found = fields.get("loss"), two_dimensional(fields)
    if loss is None or found is None or not is_classification(fields):
        return None
    amounts = 1e5 * (1 + torch.rand(len(found)))
    size = lambda output: ((output[:, 0] - amounts[: len(output)]) ** 2).mean()  # noqa: E731
    return Mutant({**fields, "loss": lambda output, y: loss(output, y) + size(output)})


@operator("a target of the same network", "LOS032")
def bootstrapped(fields: Fields) -> Mutant | None:
    """The head's values of one action drawn to a reward plus its own best value of a moved input."""
    found, inputs, model = two_dimensional(fields), fields.get("inputs"), fields["model"]
    if found is None or not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
        return None
    following, reward = inputs.roll(1, 0), torch.randn(len(found))

    def loss(output: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        values = model(following)
        wanted = given + 0.9 * values.max(1).values
        return functional.mse_loss(output[:, 0], wanted)

    return Mutant({**fields, "loss": loss, "targets": reward})


@operator("the blank among the targets", "LOS033")
def blank_as_label(fields: Fields) -> Mutant | None:
    return _ctc(fields, low=0)


@operator("targets longer than their input", "LOS033")
def too_long_targets(fields: Fields) -> Mutant | None:
    return _ctc(fields, low=1, length=64, zero_infinity=True)


def _ctc(fields: Fields, *, low: int, length: int = 3, **more: Any) -> Mutant | None:
    """CTC over the classes of a model, each of whose outputs stands for a few steps."""
    found = two_dimensional(fields)
    if found is None or found.shape[1] < 3 or len(found) < 2:
        return None
    samples, classes = found.shape

    def loss(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        scores = output.log_softmax(-1).expand(16, *output.shape)
        lengths = torch.full((samples,), 16), torch.full((samples,), targets.shape[1])
        return functional.ctc_loss(scores, targets, *lengths, **more)

    targets = torch.arange(samples * length).reshape(samples, length) % (classes - low) + low
    return Mutant({**fields, "loss": loss, "targets": targets})


@operator("a sigmoid on a critic of means", "LOS034")
def bounded_scores(fields: Fields) -> Mutant | None:
    found, labels = two_dimensional(fields), labels_of(fields)
    if found is None or labels is None or len(found) < 4:
        return None
    made = on_head(fields, lambda head: nn.Sequential(head, nn.Sigmoid()))
    half = len(found) // 2
    return made and Mutant({**made.fields, "loss": lambda output, _: output[:half].mean() - output[half:].mean()}, made.places)


@operator("a focal weight of the mean", "LOS037")
def focal_of_the_mean(fields: Fields) -> Mutant | None:
    loss, found = fields.get("loss"), trace(fields).prediction
    if not isinstance(loss, nn.CrossEntropyLoss) or not is_classification(fields) or found is None or len(found) < 2:
        return None

    def focal(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        plain = loss(output, y)
        return (1 - torch.exp(-plain)) ** 2 * plain

    return Mutant({**fields, "loss": focal})


@operator("class weights that are the frequencies", "DAT014")
def weights_of_frequencies(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    made = repeated(fields, 96) if found is not None else None
    if found is None or made is None or found.shape[1] < 3:
        return None
    classes = min(found.shape[1], 4)
    shares = torch.tensor([0.6, 0.25, 0.1, 0.05])[:classes]
    labels = torch.multinomial(shares, len(made[1]), replacement=True, generator=torch.Generator().manual_seed(0))
    weight = torch.ones(found.shape[1])
    weight[:classes] = torch.bincount(labels, minlength=classes) / len(labels) * classes
    if math.isclose(float(weight[:classes].max()), float(weight[:classes].min())):
        return None
    return Mutant({**fields, "inputs": made[0], "targets": labels, "loss": nn.CrossEntropyLoss(weight=weight)})
