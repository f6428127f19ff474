"""LOS021: a loss summed over the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Place, rule
from nnlint_rules.loss._sums import DIVIDING, is_bound, is_divided, ops_between, shrinks, summed_calls, sums

if TYPE_CHECKING:
    from nnlint import Declared, Graph, LossCalls, LossResponse, Optimizer, StepStats

#: A learning rate for a loss that is averaged, with plain gradient descent.
_USUAL_RATE = 0.5
#: Share of the weights that an update changes, from which OPT003 is an error: docs/evidence/calibration.md#steps.
_OVERWRITTEN = 0.3
#: A written weight up to which a sum may stand for a mean: the `meant` of LOS036.
_MEANT = 0.05
#: Optimizers that divide a gradient by its size.
_ADAPTIVE = ("adam", "rmsprop", "adagrad", "adafactor", "lion", "rprop")


@rule("LOS021", "sum-reduction", level="warning", since="0.1")
def check(
    losses: LossCalls, response: LossResponse | None, optimizer: Optimizer | None, declared: Declared, steps: StepStats | None
) -> Iterator[Finding]:
    """Loss summed, not averaged, over the batch.

    ## What it does
    Reports a loss function called with `reduction="sum"`, or a `.sum()` over losses of the single samples, that reaches the
    final loss without being divided; and every other loss that is for the whole batch what it is for its halves together. A term
    that is added up beside one that is averaged is reported too, unless its written weight is 0.05 or less. Other sums
    that belong to a sum of several terms (an evidence lower bound), and those under a learning rate that is divided by the number
    of samples, are info. So are sums under Adam that no loss function makes (policy gradients, pairs of a ranking): the size of the
    gradient cancels there, unless it is clipped; those that clipping cuts in every first update; and those of tables of embeddings
    alone, where a row adds up its own samples.

    ## Why is this bad?
    The loss and every gradient grow with the batch size: a learning rate tuned for one batch size is wrong for another, the
    smaller last batch counts less, and a clipping threshold means something else.

    ## Example
        loss = F.cross_entropy(logits, y, reduction="sum")

    ## Use instead
        loss = F.cross_entropy(logits, y)  # or divide the sum by the number of samples

    ## References
    - P. Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2
    """
    graph, end = losses.graph, losses.require_result().op
    grave = Level.ERROR if steps is not None and _runs_away(steps) else None
    if end is None:
        return
    samples, found = graph.facts.samples, False
    harmless = _is_scaled(optimizer, samples) or _is_of_tables(graph) or _is_cut(steps, declared)
    for op, label in (*summed_calls(losses), *sums(graph, end, samples)):
        path = ops_between(graph, op, end)
        if samples < 2 or any(step.is_kind(*DIVIDING) or shrinks(step) for step in path):
            continue
        # A sum of terms is a bound by definition; how a library's model adds up is not the user's to change.
        meant = (losses.graph.facts.library and not op.in_loss) or any(
            step.name in ("add", "sub") and len(step.activations) > 1 for step in path
        )
        found = True
        if response is not None and response.uneven is not None and meant:
            break
        yield Finding(
            at=op,
            level=Level.INFO if meant or harmless else grave,
            message=f"{label} adds up the losses of {samples} samples: loss and gradients grow with the batch size",
            evidence={"samples": samples, "value": losses.value},
            fix='use reduction="mean", or divide by the number of samples',
        )
    if response is not None:
        yield from _of_term(response)
    measured = response is not None and response.reduction == "sum" and not (graph.facts.library or is_divided(graph, end))
    if not found and measured and response is not None and samples > 1:
        meant = is_bound(end, samples) or (_is_adaptive(optimizer) and declared.grad_clip is None)
        yield Finding(
            at=response,
            level=Level.INFO if meant or harmless else grave,
            message=f"the loss of the batch is the sum of the losses of its halves ({response.whole:.4g} and {response.half:.4g}): "
            f"loss and gradients grow with the {samples} samples",
            evidence={"samples": samples, "value": response.whole, "halves": response.half},
            fix="divide by the number of samples, or take the mean over them",
        )


def _of_term(response: LossResponse) -> Iterator[Finding]:
    """A term that is summed over the samples beside one that is averaged."""
    if response.uneven is None:
        return
    summed, averaged = response.uneven
    if abs(summed.factor) <= _MEANT or abs(summed.factor) * response.samples <= abs(averaged.factor):
        return
    yield Finding(
        at=Place(summed.op.module_path, summed.op.location),
        message=f"{summed.op.label} adds up a term of the loss over {response.samples} samples, while {averaged.op.label} averages "
        "another: the larger the batch, the more the sum outweighs it",
        evidence={"samples": response.samples, "factor": summed.factor},
        fix=f"reduce both terms alike: `kl.sum(1).mean()` in place of `kl.sum()`, or divide the sum by the {response.samples} samples",
    )


def _runs_away(steps: StepStats) -> bool:
    """Whether the first updates with the optimizer overwrite the weights and leave a higher loss."""
    ratio = steps.median_update_ratio
    if not steps.own_optimizer or steps.surrogate or ratio is None or ratio <= _OVERWRITTEN:
        return False
    return steps.non_finite_step is not None or steps.losses[-1] > steps.losses[0]


def _is_scaled(optimizer: Optimizer | None, samples: int) -> bool:
    """Whether the rate is small enough for a sum: times the samples, it is the rate of the mean. Adam takes no notice of either."""
    if optimizer is None or not optimizer.learning_rates or "adam" in optimizer.label.lower():
        return False
    return max(optimizer.learning_rates) * samples <= _USUAL_RATE


def _is_cut(steps: StepStats | None, declared: Declared) -> bool:
    """Whether clipping cuts every gradient of the first updates: then each update is as long as the threshold says, for any batch."""
    if steps is None or declared.grad_clip is None or not steps.gradient_norms:
        return False
    return min(steps.gradient_norms) > declared.grad_clip


def _is_adaptive(optimizer: Optimizer | None) -> bool:
    """Whether an update is as large for a gradient of any size."""
    return optimizer is not None and any(name in optimizer.label.lower() for name in _ADAPTIVE)


def _is_of_tables(graph: Graph) -> bool:
    """Whether every trained parameter is a table that samples look rows up in: a row's gradient is the sum over its own samples."""
    readers = [op for op in graph.ops if op.parameters and op.requires_grad]
    return bool(readers) and all(op.is_kind("embedding") for op in readers)


