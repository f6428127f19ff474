"""Evidence `EvalCalls`: which modules an evaluation-mode forward calls. Measured when a rule first asks for it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from nnlint.capture.modules import ModuleTracker, tracked_calls
from nnlint.finding import Skip

if TYPE_CHECKING:
    from nnlint.probes.session import Session


class EvalCalls:
    """Modules called in evaluation mode: a branch that only evaluation takes is no unused layer."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @cached_property
    def modules(self) -> frozenset[str]:
        """Paths of the modules called; empty where no such forward can be had (static check, no input, it raises)."""
        session = self._session
        if session.is_fake or session.setup.inputs is None or session.training_pass.failures:
            return frozenset()
        try:
            found: frozenset[str] = session.measure("calls in evaluation", self._run)
        except Skip:
            return frozenset()
        return found

    def _run(self) -> frozenset[str]:
        setup = self._session.setup
        tracker = ModuleTracker.of(setup.model)
        setup.model.eval()
        try:
            with torch.no_grad(), tracked_calls(tracker, self):
                setup.call_model()
        except Exception:
            return frozenset()
        return frozenset(tracker.calls)

    def called(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Part of the tracker's protocol: only the fact of the call counts here."""


def provide(session: Session) -> EvalCalls:
    """The calls of an evaluation-mode forward."""
    return EvalCalls(session)
