"""What the normalization rules share: which dropouts and norms are active, and what feeds a head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nnlint.kinds import BINARY_LOSSES, CLASS_LOSSES, DISTANCE_LOSSES, VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Graph, LossCall, Op

#: Losses whose prediction is the model's answer, not an embedding or a feature.
ANSWER_LOSSES = (
    *CLASS_LOSSES,
    *BINARY_LOSSES,
    *DISTANCE_LOSSES,
    "soft_margin_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "kl_div",
    "gaussian_nll_loss",
    "poisson_nll_loss",
    "ctc_loss",
)
#: Between the last layer and the loss: what keeps the values, and what squashes them.
_HEAD = VALUE_PRESERVING - {"dropout"} | {"softmax", "log-softmax", "saturating"}


def drop_probability(op: Op) -> float:
    """The dropout probability of a dropout op as it was called."""
    p = op.argument("p", 0.5)
    return float(p) if isinstance(p, (int, float)) else 0.5


def is_in_training(op: Op) -> bool:
    """Whether a dropout op was called in its training form, which is the functional's default."""
    return op.argument("training") is not False


def is_active_dropout(op: Op) -> bool:
    """Whether the op drops anything in this training-mode run."""
    return op.is_kind("dropout") and drop_probability(op) > 0.0 and is_in_training(op)


def uses_batch_statistics(norm: Op) -> bool:
    """Whether a batch or instance norm normalized with the statistics of the batch."""
    if norm.is_kind("batch-norm"):
        return norm.argument("training") not in (None, False)
    return norm.is_kind("instance-norm") and norm.argument("use_input_stats") is not False


def tracks_statistics(norm: Op) -> bool:
    """Whether evaluation will use running statistics instead of the batch's."""
    return norm.argument("running_mean") is not None or bool(norm.argument("track_running_stats"))


def last_layers(graph: Graph) -> Iterable[tuple[LossCall, Op]]:
    """For every loss on the model's answer, the op before it: what is left after views, casts and squashing functions.

    A loss whose target the model computed itself compares features, not answers, and is left out.
    """
    for loss in graph.loss_calls:
        if loss.kind not in ANSWER_LOSSES or loss.prediction is None:
            continue
        if loss.target is not None and any(op.is_kind("parameter") for op in graph.ancestors(loss.target)):
            continue
        yield loss, graph.producer(loss.prediction, through=_HEAD)
