"""What the targets of a loss are: one-hot rows, distributions, labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnlint import Place
from nnlint.kinds import CLASS_LOSSES
from nnlint_rules.loss._heads import thinned

if TYPE_CHECKING:
    from nnlint import Graph, Located, MeasuredLoss

_TOLERANCE = 0.01


@dataclass(frozen=True)
class TargetRows:
    """Targets of the shape of the prediction, seen as one row of class values for each decision.

    Attributes:
        classes: entries of a row.
        rows: how many rows; rows of zeros (padding, void pixels) are not counted.
        empty: how many rows of zeros there are.
        binary: whether every entry is 0 or 1.
        sum_to_one: share of the rows that sum to 1.
        smallest_sum, largest_sum: the smallest and the largest sum of a row.
        integral: whether every entry is a whole number.
        distinct: number of columns that hold the largest entry of some row.
        highest: the largest entry.
    """

    classes: int
    rows: int
    empty: int
    binary: bool
    sum_to_one: float
    smallest_sum: float
    largest_sum: float
    integral: bool
    distinct: int
    highest: float

    @property
    def one_hot(self) -> bool:
        """Whether the rows are one-hot and name more than one class."""
        return self.binary and self.sum_to_one == 1.0 and self.distinct > 1


def target_rows(call: MeasuredLoss) -> TargetRows | None:
    """The rows of the targets; None where the targets have not the shape of a prediction with classes, or no values."""
    values, prediction = call.target_value, call.prediction
    if values is None or prediction is None or tuple(values.shape) != prediction.shape or values.dim() < 2:
        return None
    dim = call.class_dim
    if call.kind not in CLASS_LOSSES and values.dim() == 3:
        dim = 2  # (N, T, C): torch's elementwise losses know no class dimension, sequences keep it last
    return rows_of(values, dim)


def rows_of(values: Any, dim: int) -> TargetRows | None:
    """The rows along a dimension; None where all of them are zero, or a value is not finite."""
    import torch

    rows = thinned(values).movedim(dim, -1).reshape(-1, values.shape[dim])
    total = len(rows)
    rows = rows[rows.abs().sum(1) > 0]
    if len(rows) == 0 or not bool(torch.isfinite(rows).all()):
        return None
    sums = rows.sum(1)
    return TargetRows(
        classes=rows.shape[1],
        rows=len(rows),
        empty=total - len(rows),
        binary=bool(((rows == 0) | (rows == 1)).all()),
        sum_to_one=float(((sums - 1).abs() <= _TOLERANCE).double().mean()),
        smallest_sum=float(sums.min()),
        largest_sum=float(sums.max()),
        integral=bool((rows == rows.round()).all()),
        distinct=int(rows.argmax(1).unique().numel()),
        highest=float(rows.max()),
    )


def place_of_loss(graph: Graph) -> Located:
    """The line of the loss; where a loss module of torch has none, what it was given."""
    call = next(iter(graph.loss_calls), None)
    if call is None:
        return Place()
    return call.prediction if call.location is None and call.prediction is not None else call
