"""TRN001: the model cannot even learn eight samples by heart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Place, Skip, rule

if TYPE_CHECKING:
    from nnlint import LossCalls, OverfitRun


@rule("TRN001", "cannot-overfit", level="error", since="0.1")
def check(overfit: OverfitRun, losses: LossCalls) -> Iterator[Finding]:
    """A small fixed batch that the model cannot learn by heart at any learning rate.

    ## What it does
    Trains on the first 8 samples of the batch with dropout and weight decay off, with Adam at 1e-3, 3e-4, 3e-3 and 1e-4, and at
    last with the optimizer as given; the first that brings the loss below a tenth of what can be reached ends the probe. It is
    an error only where every learning rate comes to rest above half of the reachable improvement. A loss that is slow but still
    falling is inconclusive, and so is a plateau that proves nothing: a loss whose lowest value is unknown, equal inputs with
    different targets, a linear model that cannot fit the batch by theory, far more targets than weights. The rule is then
    skipped with that reason and the number of steps. Well-known plateau values are named with the fault they are the signature
    of.

    ## Why is this bad?
    A model that cannot memorize eight samples will not learn from a million. Overfitting a batch is the cheapest test that
    data, model, loss and gradient belong together.

    ## Example
        return F.softmax(self.head(x), dim=1)    # then nn.CrossEntropyLoss(): rests at ln(e + C - 1) - 1

    ## Use instead
        return self.head(x)

    ## References
    - Karpathy: A Recipe for Training Neural Networks, 2019 ("overfit one batch")
    - CS231n, Neural Networks Part 3: overfit a tiny subset of the data
    - calibration: docs/evidence/calibration.md#overfit
    """
    if overfit.verdict == "inconclusive":
        raise Skip(f"inconclusive, {overfit.in_words}")
    if overfit.verdict != "plateau":
        return
    rates = [rung.learning_rate for rung in overfit.rungs if rung.learning_rate is not None]
    named = f", which is {overfit.known_plateau}" if overfit.known_plateau else ""
    location = losses.location
    yield Finding(
        at=Place("", location) if location is not None else None,
        message=f"on {overfit.samples} samples the loss stays at {overfit.best_loss:.4g}{named}: {overfit.left:.0%} of the reachable "
        f"improvement is left (limit 50%) at every learning rate from {min(rates):g} to {max(rates):g}, in {overfit.steps} steps",
        evidence={
            "initial_loss": overfit.initial_loss,
            "plateau": overfit.best_loss,
            "known_plateau": overfit.known_plateau,
            "floor": overfit.floor,
            "left": overfit.left,
            "limit": 0.5,
            "steps": overfit.steps,
            "samples": overfit.samples,
            "best_by_learning_rate": {f"{rung.learning_rate or rung.optimizer}": rung.best for rung in overfit.rungs},
        },
        fix="follow the named plateau, or narrow it down: train on two samples, replace layers by simpler ones until it fits, and "
        "check that targets belong to their inputs",
    )
