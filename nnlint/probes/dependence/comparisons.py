"""What the probes of dependence do with a changed batch, under the session's guard: outputs for it, and the op where it shows first."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from nnlint.finding import Skip
from nnlint.probes.dependence.outputs import evaluate
from nnlint.probes.evaluation.first_difference import Run, by_entries, first_difference

if TYPE_CHECKING:
    import torch

    from nnlint.probes.evaluation.first_difference import Difference, Judge
    from nnlint.probes.session import Session


def measured_outputs(session: Session, label: str, inputs: Any) -> list[torch.Tensor]:
    """Floating outputs in evaluation mode for other inputs; `label` names the pass.

    Raises:
        Skip: the model does not take these inputs.
    """
    found: list[torch.Tensor] = session.measure(
        label,
        lambda: evaluate(session.setup, inputs, seed=session.plan.seed),
        reads_only=True,
        attempt=f"the model does not take the batch of the {label}",
    )
    return found


def measured_difference(session: Session, label: str, changed: Any, judge: Judge) -> Difference | None:
    """The first op whose values differ, as `judge` reads them, between the batch and changed inputs; None where it is not found."""
    run = partial(Run, seed=session.plan.seed, prepare=session.setup.model.eval)
    found: Difference | None = None
    with suppress(Skip):  # the difference is there, with its place or without; what raised is a failure of its own
        found = session.measure(
            label,
            lambda: first_difference(session.setup, run(session.batch_inputs), run(changed), by_entries(judge)),
        )
    return found
