"""Evidence `EvalCalls`: which modules an evaluation-mode forward calls. Measured when a rule first asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlint.capture.modules import ModuleTracker, tracked_calls
from nnlint.finding import OutOfBudget, Skip
from nnlint.probes.dependence.outputs import evaluate
from nnlint.probes.measured import measured

if TYPE_CHECKING:
    from nnlint.probes.session import Session


class EvalCalls:
    """Modules called in evaluation mode: a branch that only evaluation takes is no unused layer."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @measured
    def modules(self) -> frozenset[str]:
        """Paths of the modules called; empty where training runs no such forward.

        That is a static check, a setup without inputs, a training pass that failed, and a training step of the model's own whose
        batch the forward does not take.

        Raises:
            Skip: the forward raises in evaluation mode.
        """
        session = self._session
        if session.is_fake or session.setup.inputs is None or session.training_pass.failures:
            return frozenset()
        if session.setup.own_loss is None:
            found: frozenset[str] = session.measure("calls in evaluation", self._run)
            return found
        try:
            found = session.measure("calls in evaluation", self._run, attempt="the batch is not the forward's own")
        except OutOfBudget:
            raise
        except Skip:
            return frozenset()
        return found

    def _run(self) -> frozenset[str]:
        setup = self._session.setup
        tracker = ModuleTracker.of(setup.model)
        with tracked_calls(tracker, self):
            evaluate(setup, setup.inputs, seed=self._session.plan.seed)
        return frozenset(tracker.calls)

    def called(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Part of the tracker's protocol: only the fact of the call counts here."""


def provide(session: Session) -> EvalCalls:
    """The calls of an evaluation-mode forward."""
    return EvalCalls(session)
