"""More operators on the loss and what reaches it; see benchmarks/mutators.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.mutation_tools import (
    Fields,
    Wrapped,
    class_dim,
    is_classification,
    labels_of,
    prediction_of,
    renew,
    replace,
    trace,
)
from benchmarks.mutators import Mutant, on_head, operator, two_dimensional
from benchmarks.mutators_data import repeated


def _labels(fields: Fields) -> torch.Tensor | None:
    """The class indices of a classifier with one prediction for each sample."""
    found, labels = two_dimensional(fields), labels_of(fields)
    return labels if found is not None and labels is not None and labels.shape == found.shape[:1] else None


def _narrowed(head: nn.Module) -> nn.Module:
    """A linear layer with the inputs of the head and a single unit."""
    assert isinstance(head, nn.Linear)
    return nn.Linear(head.in_features, 1)


def _one_unit(fields: Fields, last: nn.Module, **more: Any) -> Mutant | None:
    """A classifier whose head is a linear layer of one unit, and something after it."""
    head, labels = trace(fields).head(), _labels(fields)
    if head is None or labels is None or not isinstance(head.module, nn.Linear):
        return None
    return on_head(fields, lambda layer: nn.Sequential(_narrowed(layer), last), **more)


@operator("softmax over one unit", "LOS007")
def softmax_over_one(fields: Fields) -> Mutant | None:
    labels = _labels(fields)
    if labels is None:
        return None
    return _one_unit(fields, nn.Softmax(dim=-1), targets=(labels % 2).float()[:, None], loss=nn.BCELoss())


@operator("one logit for two classes", "LOS011")
def one_logit(fields: Fields) -> Mutant | None:
    labels = _labels(fields)
    return (
        None
        if labels is None
        else _one_unit(fields, nn.Identity(), targets=torch.zeros_like(labels), loss=nn.CrossEntropyLoss())
    )


@operator("probabilities into NLL", "LOS003")
def nll_on_probabilities(fields: Fields) -> Mutant | None:
    if fields.get("loss") is None:
        return None
    return on_head(fields, lambda head: nn.Sequential(head, nn.Softmax(dim=class_dim(head))), loss=nn.NLLLoss())


@operator("probabilities into KL divergence", "LOS022")
def kl_of_probabilities(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    loss, targets = nn.KLDivLoss(reduction="batchmean"), torch.randn(found.shape).softmax(-1)
    made = on_head(fields, lambda head: nn.Sequential(head, nn.Softmax(dim=-1)), loss=loss, targets=targets)
    return made and Mutant(made.fields)  # the loss call is the place


@operator("logits into KL divergence", "LOS022")
def kl_of_logits(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    return Mutant(
        {**fields, "loss": nn.KLDivLoss(reduction="batchmean"), "targets": torch.randn(found.shape).softmax(-1)}
    )


@operator("classes last in a square picture", "LOS023")
def classes_last(fields: Fields) -> Mutant | None:
    found = trace(fields)
    head, prediction = found.head(), found.prediction
    if head is None or prediction is None or prediction.dim() != 4 or prediction.shape[2] != prediction.shape[3]:
        return None
    if not is_classification(fields) or fields.get("loss") is None or not isinstance(head.module, nn.Conv2d):
        return None
    size = prediction.shape[2]
    wide = nn.Conv2d(head.module.in_channels, size, head.module.kernel_size, padding=head.module.padding)
    return on_head(fields, lambda _: Wrapped(wide, after=lambda x: x.permute(0, 2, 3, 1)))


@operator("classes last in sequences as long as there are classes", "LOS023")
def classes_last_in_time(fields: Fields) -> Mutant | None:
    """Logits (N, T, C) with T = C go into cross-entropy as they are."""
    found, labels = trace(fields), labels_of(fields)
    head, prediction = found.head(), found.prediction
    if head is None or prediction is None or prediction.dim() != 3 or not isinstance(head.module, nn.Linear):
        return None
    time = prediction.shape[1]
    if labels is None or labels.is_floating_point() or labels.shape != prediction.shape[:2] or time < 3 or len(labels) == time:
        return None
    classes = labels.masked_fill(labels < 0, 0) % time
    replace(fields["model"], head.path, nn.Linear(head.module.in_features, time))
    made = {**fields, "inputs": _unlabelled(fields["inputs"]), "targets": classes}
    return Mutant(renew({**made, "loss": lambda output, y: functional.cross_entropy(prediction_of(output), y)}), (head.path,))


def _unlabelled(inputs: Any) -> Any:
    """The inputs without labels, so that a model computes no loss of its own."""
    return {name: value for name, value in inputs.items() if name != "labels"} if isinstance(inputs, Mapping) else inputs


@operator("class numbers in one-hot places", "LOS026")
def numbers_as_one_hot(fields: Fields) -> Mutant | None:
    found, labels = two_dimensional(fields), _labels(fields)
    if found is None or labels is None or found.shape[1] < 3 or found.shape[1] > 100:
        return None
    targets = functional.one_hot(labels, found.shape[1]).float() * torch.arange(found.shape[1])
    return Mutant({**fields, "loss": nn.CrossEntropyLoss(), "targets": targets})


@operator("BCE on one-hot classes", "LOS012")
def bce_on_one_hot(fields: Fields) -> Mutant | None:
    return _on_one_hot(fields, nn.BCEWithLogitsLoss())


@operator("squared error on one-hot classes", "LOS014")
def squares_on_one_hot(fields: Fields) -> Mutant | None:
    return _on_one_hot(fields, nn.MSELoss())


def _on_one_hot(fields: Fields, loss: nn.Module) -> Mutant | None:
    """On a batch of 32 at least: a few rows of several labels may hold one each by chance."""
    found, labels = two_dimensional(fields), _labels(fields)
    if found is None or labels is None or found.shape[1] < 3:
        return None
    if len(labels) < 32:
        made = repeated(fields, 32)
        if made is None:
            return None
        fields, labels = {**fields, "inputs": made[0]}, made[1]
    return Mutant({**fields, "loss": loss, "targets": functional.one_hot(labels, found.shape[1]).float()})


@operator("squared error on class numbers", "LOS014")
def squares_on_numbers(fields: Fields) -> Mutant | None:
    """Numbers of 100 classes at most, half of which occur: others cannot be told from counts and amounts."""
    found, labels = two_dimensional(fields), _labels(fields)
    if found is None or labels is None or found.shape[1] > 100 or 2 * len(labels.unique()) < found.shape[1]:
        return None
    loss = lambda output, target: functional.mse_loss(output[:, 0], target)  # noqa: E731
    return Mutant({**fields, "loss": loss})


@operator("a confident head", "LOS018")
def confident(fields: Fields) -> Mutant | None:
    """Logits of standard deviation 3 by weights of the head: an excess of 4 nats, below the scale of INI003."""
    found, head = two_dimensional(fields), trace(fields).head()
    if found is None or head is None or not isinstance(head.module, nn.Linear) or found.shape[1] < 4:
        return None
    spread = float(found.detach().std(dim=1).mean())
    factor = 3.0 / spread if spread > 0 else math.inf
    he = math.sqrt(2 / head.module.in_features)
    if not 1 < factor < 8 * he / float(head.module.weight.detach().std()):
        return None
    head.module.weight.data.mul_(factor)
    return Mutant(fields, (head.path,))


@operator("negative class weights", "LOS031")
def negative_weights(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    weight = torch.full(
        (found.shape[1],), math.log(0.05)
    )  # the logarithms of the frequencies where their ratio is meant
    return Mutant(
        {**fields, "loss": nn.BCEWithLogitsLoss(pos_weight=weight), "targets": torch.randint(0, 2, found.shape).float()}
    )


@operator("negated loss", "LOS031")
def negated(fields: Fields) -> Mutant | None:
    loss = fields.get("loss")
    if loss is None or not is_classification(fields):
        return None
    return Mutant({**fields, "loss": lambda output, target: -loss(output, target)})


@operator("negative weights of samples", "LOS024")
def negative_sample_weights(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    targets = torch.randint(0, 2, found.shape).float(), -0.1 - torch.rand(len(found), 1)
    loss = lambda output, batch: functional.binary_cross_entropy_with_logits(output, batch[0], weight=batch[1])  # noqa: E731
    return Mutant({**fields, "loss": loss, "targets": targets})


@operator("loss without a reduction", "LOS020")
def unreduced(fields: Fields) -> Mutant | None:
    if not isinstance(fields.get("loss"), nn.CrossEntropyLoss):
        return None
    return Mutant({**fields, "loss": nn.CrossEntropyLoss(reduction="none")})


@operator("loss made of a number", "LOS020")
def rebuilt(fields: Fields) -> Mutant | None:
    loss = fields.get("loss")
    if loss is None or not is_classification(fields):
        return None
    return Mutant(
        {**fields, "loss": lambda output, target: torch.tensor(loss(output, target).item(), requires_grad=True)}
    )


@operator("sigmoid for ratings from 1 to 5", "LOS016")
def squashed_regression(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    more = {"loss": nn.L1Loss(), "targets": 1 + 4 * torch.rand(found.shape)}
    return on_head(fields, lambda head: nn.Sequential(head, nn.Sigmoid()), **more)


@operator("tanh before BCE", "LOS006")
def tanh_before_bce(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    more = {"loss": nn.BCELoss(), "targets": torch.randint(0, 2, found.shape).float()}
    return on_head(fields, lambda head: nn.Sequential(head, nn.Tanh()), **more)


@operator("log_softmax before cross-entropy", "LOS004")
def redundant_log_softmax(fields: Fields) -> Mutant | None:
    return on_head(fields, lambda head: nn.Sequential(head, nn.LogSoftmax(dim=class_dim(head))))


@operator("sign of the loss changed where it stays finite", "LOS031")
def sign_changed(fields: Fields) -> Mutant | None:
    """A share of the likelihood of the right class, minimized."""
    found, labels = two_dimensional(fields), _labels(fields)
    if found is None or labels is None or len(labels.unique()) < 2:
        return None
    loss = lambda output, target: output.softmax(-1).gather(1, target[:, None]).mean()  # noqa: E731
    return Mutant({**fields, "loss": loss})


@operator("overlap minimized", "LOS031")
def overlap_minimized(fields: Fields) -> Mutant | None:
    """The dice coefficient of class maps, or of the classes of a batch, as the loss."""
    labels = labels_of(fields)
    if fields.get("loss") is None or labels is None or not is_classification(fields) or len(labels.unique()) < 2:
        return None

    def dice(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        p = output.softmax(1)
        t = functional.one_hot(target, p.shape[1]).movedim(-1, 1).to(p)
        return (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)

    return Mutant({**fields, "loss": dice})


@operator("distance to the targets maximized", "LOS031")
def distance_maximized(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None or len(found) < 2:
        return None
    loss = lambda output, target: -functional.smooth_l1_loss(output, target)  # noqa: E731
    return Mutant({**fields, "loss": loss, "targets": torch.randn(found.shape)})
