"""Right and wrong answers: the targets in the form that an output has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

#: How sure the logits of an answer are, and how sure where the loss takes the logarithm of p or 1 - p without care.
SURE, LESS_SURE = 30.0, 4.0
#: The smallest probability that such a loss is given.
_LEAST = 0.01
#: Rows whose sum departs from 1 by less are distributions.
_ROUNDING = 1e-3
#: Entries above which neither outputs nor targets are tried.
ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False)
class Form:
    """One way to read a tensor of targets as a tensor of the output.

    Attributes:
        leaf: which tensor of the output.
        target: which tensor of the targets.
        name: "logits", "probabilities", "log-probabilities" or "values".
        labels: the targets, one entry for each decision; class numbers where `classes` is set.
        axis: the axis of the classes in the output; None where each entry of the output is a decision.
        valid: which decisions count (no ignored labels).
        like: the output, for what is left as it is.
        sure: the size of logits.
        blur: noise on values, in standard deviations: some losses (the logarithm of an error) are infinite at the target itself.
    """

    leaf: int
    target: int
    name: str
    labels: Tensor
    axis: int | None
    valid: Tensor
    like: Tensor
    sure: float = SURE
    blur: float = 0.0

    @property
    def unbounded(self) -> bool:
        """Whether ten times as large an answer is an answer of the same form."""
        return self.name in ("logits", "values")

    def answer(self, labels: Tensor) -> Tensor:
        """The output that gives these labels for certain."""
        made = self._written(labels)
        keep = ~self.valid if self.axis is None else ~self.valid.unsqueeze(self.axis)
        return torch.where(keep, self.like, made.to(self.like.dtype))

    def _written(self, labels: Tensor) -> Tensor:
        if self.axis is None:
            low, high = self.labels.min(), self.labels.max()
            if self.name == "logits":
                return self.sure * (2 * (labels - low) / (high - low) - 1)
            if self.name == "probabilities":
                return labels if self.sure == SURE else labels.clamp(_LEAST, 1 - _LEAST)
            return labels if not self.blur else labels + self.blur * labels.std() * _noise(labels)
        classes = self.like.shape[self.axis]
        hot = torch.nn.functional.one_hot(labels.clamp(0, classes - 1), classes).movedim(-1, self.axis).double()
        if self.name == "probabilities":
            return hot if self.sure == SURE else (1 - _LEAST) * hot + _LEAST / classes
        return (self.sure * hot).log_softmax(self.axis) if self.name == "log-probabilities" else self.sure * hot

    def gentler(self) -> Form | None:
        """The same answers less sure, for a loss that refuses these; None where they cannot be."""
        if self.name in ("logits", "probabilities") and self.sure > LESS_SURE:
            return replace(self, sure=LESS_SURE)
        return replace(self, blur=0.01) if self.name == "values" and not self.blur else None

    def mixed_up(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Labels that are wrong everywhere, or belong to other samples."""
        values = self.labels[self.valid]
        distinct = values.unique()
        if self.axis is not None or len(distinct) == 2:
            # Every decision gets another one of the labels that occur.
            place = torch.searchsorted(distinct, self.labels.contiguous()).clamp(max=len(distinct) - 1)
            step = torch.randint(1, len(distinct), self.labels.shape, generator=generator).to(place.device)
            yield distinct[(place + step) % len(distinct)].to(self.labels.dtype)
        else:
            # The same numbers as far from the mean, on its other side.
            yield (2 * values.mean() - self.labels).to(self.labels.dtype)
            flat = self.labels.reshape(-1)
            yield flat[torch.randperm(len(flat), generator=generator).to(flat.device)].reshape(self.labels.shape)


def _noise(labels: Tensor) -> Tensor:
    return torch.randn(labels.shape, generator=torch.Generator().manual_seed(1)).to(labels)


def forms(leaves: Sequence[Tensor], targets: Sequence[Tensor], bounded: frozenset[int]) -> list[Form]:
    """Every way to read the targets as outputs.

    Args:
        leaves: the tensors of the output.
        targets: those of the targets.
        bounded: which of the output's tensors are held in [0, 1].
    """
    found = []
    for place, target in enumerate(targets):
        for leaf, output in enumerate(leaves):
            # What training cannot change (a teacher's output) is no prediction.
            if output.requires_grad and 0 < output.numel() <= ENTRIES and _is_varied(target):
                found += list(_read(leaf, output.detach(), place, target.detach(), bounded=leaf in bounded))
    return found


def _is_varied(target: Tensor) -> bool:
    """Whether the targets differ: an objective with one target for all has no wrong answers among them."""
    if target.layout is not torch.strided or target.is_complex() or target.numel() < 2 or target.numel() > ENTRIES:
        return False
    flat = target.reshape(-1)
    return bool((flat != flat[0]).any()) and (not flat.is_floating_point() or bool(flat.isfinite().all()))


def _read(leaf: int, output: Tensor, place: int, target: Tensor, *, bounded: bool) -> Iterator[Form]:
    axis = _class_axis(output, target)
    if axis is not None:
        labels = target.reshape(_without(output.shape, axis)).long()
        valid = (labels >= 0) & (labels < output.shape[axis])
        if not bool(valid.any()) or len(labels[valid].unique()) < 2 or not _mostly(valid, labels):
            return
        for name in _class_forms(output, axis):
            yield Form(leaf, place, name, labels, axis, valid, output)
    elif target.numel() == output.numel() and _alike(target.shape, output.shape):
        yield from _elementwise(leaf, output, place, target.reshape(output.shape), bounded=bounded)


def _mostly(valid: Tensor, labels: Tensor) -> bool:
    """Whether what is no class number is a mark for labels to be ignored: one value."""
    return len(labels[~valid].unique()) <= 1


def _elementwise(leaf: int, output: Tensor, place: int, target: Tensor, *, bounded: bool) -> Iterator[Form]:
    everywhere = torch.ones_like(output, dtype=torch.bool)
    axis = _distribution_axis(target)
    if axis is not None and output.shape[axis] > 1:
        # Rows that sum to one: the likeliest class stands for the row.
        labels = target.argmax(axis)
        if len(labels.unique()) > 1:
            for name in _class_forms(output, axis):
                yield Form(leaf, place, name, labels, axis, torch.ones_like(labels, dtype=torch.bool), output)
        return
    binary = bool(((target == 0) | (target == 1)).all()) or bool(((target == -1) | (target == 1)).all())
    # A bounded output never is -1: such labels are the sides of a critic.
    shares = bounded and binary and not bool((target < 0).any())
    for name in ("probabilities",) if shares else ("logits", "values") if binary else ("values",):
        yield Form(leaf, place, name, target.double(), None, everywhere, output)


def _class_axis(output: Tensor, target: Tensor) -> int | None:
    """The axis that the output has and whole-number targets lack: 1 in torch's losses, the last one in language models."""
    if output.dim() < 2 or target.numel() * 2 > output.numel():
        return None
    if target.is_floating_point() or target.dtype is torch.bool:
        return None
    shape = _squeezed(target.shape)
    for axis in dict.fromkeys((1, output.dim() - 1)):
        rest = _without(output.shape, axis)
        if output.shape[axis] > 1 and (
            _squeezed(rest) == shape or (target.dim() == 1 and rest.numel() == target.numel())
        ):
            return axis
    return None


def _class_forms(output: Tensor, axis: int) -> tuple[str, ...]:
    """The forms that the output has, by its numbers: rows that sum to one are probabilities, whoever made them."""
    if _sums_to_one(output, axis):
        return ("probabilities",)
    if bool((output <= 0).all()) and bool((output.double().logsumexp(axis).abs() < _ROUNDING).all()):
        return ("log-probabilities",)
    if bool(((output >= 0) & (output <= 1)).all()):
        return ("probabilities",)
    return ("logits",)


def _sums_to_one(output: Tensor, axis: int) -> bool:
    sums = output.double().sum(axis)
    return bool((output >= 0).all()) and bool(((sums - 1).abs() < _ROUNDING).all())


def shares(form: Form) -> int | None:
    """The axis along which scores of classes sum to one and differ: that of the classes, or 0 for the samples; None for others."""
    if form.axis is None or bool((form.like == form.like.flatten()[0]).all()):
        return None
    axes = (form.axis, 0) if form.like.dim() == 2 and min(form.like.shape) > 1 else (form.axis,)
    return next((axis for axis in axes if _sums_to_one(form.like, axis)), None)


def _distribution_axis(target: Tensor) -> int | None:
    if not target.is_floating_point() or target.dim() < 2 or bool((target < 0).any()):
        return None
    for axis in dict.fromkeys((1, target.dim() - 1)):
        if bool(((target.double().sum(axis) - 1).abs() < _ROUNDING).all()):
            return axis
    return None


def _alike(one: torch.Size, other: torch.Size) -> bool:
    """Whether the shapes are the same but for sizes of 1, or for a sample that is flattened in one of them."""
    flat = one[:1] == other[:1] and min(len(one), len(other)) == 2
    return flat or _squeezed(one) == _squeezed(other)


def _without(shape: torch.Size, axis: int) -> torch.Size:
    return torch.Size((*shape[:axis], *shape[axis + 1 :]))


def _squeezed(shape: torch.Size) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
