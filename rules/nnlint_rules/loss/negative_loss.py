"""LOS024: a negative value of a loss that cannot be negative."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Options, rule
from nnlint.kinds import BINARY_LOSSES, CLASS_LOSSES, DISTANCE_LOSSES, VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import LossCalls, MeasuredLoss, Op

_NON_NEGATIVE = (
    *CLASS_LOSSES,
    *BINARY_LOSSES,
    *DISTANCE_LOSSES,
    "kl_div",
    "ctc_loss",
    "soft_margin_loss",
    "multilabel_margin_loss",
    "multi_margin_loss",
    "margin_ranking_loss",
    "triplet_margin_loss",
    "cosine_embedding_loss",
)


class Sign(Options):
    """Tolerances; calibration: docs/evidence/calibration.md#negative-loss."""

    tolerance: float = 1e-3  # rounding of a loss that is 0


@rule("LOS024", "negative-loss", level="warning", since="0.1")
def check(losses: LossCalls, options: Sign) -> Iterator[Finding]:
    """Negative value of a loss that is non-negative by definition.

    ## What it does
    Looks at the value of every loss function that cannot be negative on valid arguments (cross-entropies, squared and absolute
    errors, KL divergence, margin losses), and whether the loss as a whole is the negative of such a value. Gaussian and Poisson
    likelihoods and hand-written losses may be negative; so may the negative of a loss whose targets are all the same (the
    generator of an adversarial pair).

    ## Why is this bad?
    Something it was given is out of its domain: weights or targets below 0, probabilities above 1, scores where
    log-probabilities are meant. Minimizing it then drives the net toward the fault.

    ## Example
        F.binary_cross_entropy_with_logits(logits, y, weight=torch.log(frequency))  # negative weights

    ## Use instead
        F.binary_cross_entropy_with_logits(logits, y, weight=1 / frequency)

    ## References
    - PyTorch: `torch.nn.functional`, loss functions
    """
    losses.require_result()
    for call in losses.of(*_NON_NEGATIVE):
        if call.value is None or call.value.numel() == 0:
            continue
        mean = float(call.value.double().mean())
        # The terms of a divergence may be negative one by one; their sum over a distribution may not.
        lowest = mean if call.kind == "kl_div" else float(call.value.min())
        if not lowest < -options.tolerance:
            continue
        yield Finding(
            at=call,
            message=f"{call.label} is {mean:.4g}, and cannot be negative on valid arguments",
            evidence={"mean": mean, "lowest": lowest, "limit": -options.tolerance},
            fix="look at its arguments: weights and targets have to be non-negative, predictions in the domain of the loss",
        )
    negated = _negated(losses)
    if negated is not None:
        yield Finding(
            at=losses,
            message=f"the loss is the negative of {negated.label} ({losses.value:.4g}): minimizing it drives the predictions away "
            "from their targets, without bound",
            evidence={"mean": losses.value, "limit": -options.tolerance},
            fix="return the loss itself: the optimizer minimizes it",
        )


def _negated(losses: LossCalls) -> MeasuredLoss | None:
    """The loss function whose value, negated, is what backward starts from; None where its targets are all the same."""
    op = losses.op
    if op is None or not (losses.value or 0.0) < 0.0 or not _changes_sign(op) or len(op.activations) != 1:
        return None
    source = losses.graph.producer(op.activations[0], through=VALUE_PRESERVING | {"reduce"})
    for call in losses.of(*_NON_NEGATIVE):
        if call.op is source and call.target_value is not None and call.target_value.numel():
            values = call.target_value
            return call if bool((values != values.reshape(-1)[0]).any()) else None
    return None


def _changes_sign(op: Op) -> bool:
    """Whether the op is a minus sign, or a product with a negative number."""
    numbers = [part for part in op.leading if isinstance(part, (int, float))]
    return op.name == "neg" or (op.is_kind("mul", "div") and any(number < 0 for number in numbers))
