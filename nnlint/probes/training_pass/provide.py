"""The providers of what one recorded training pass gives: the pass itself, its graph, losses and statistics."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nnlint.capture.symbolic import trace
from nnlint.finding import Skip
from nnlint.probes.fake import fake_setup
from nnlint.probes.training_pass.reruns import find_non_finite, find_non_finite_gradient
from nnlint.probes.training_pass.run import TrainingPass, run_training_pass

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.lookups import RefusedLookup
    from nnlint.capture.refused_norms import RefusedNorm
    from nnlint.probes.session import Session
    from nnlint.probes.training_pass.losses import LossCalls
    from nnlint.probes.training_pass.stats import BackwardStats, ForwardStats

_OF_PASS = ("ForwardStats", "BackwardStats", "LossCalls")


def training_pass(session: Session) -> TrainingPass:
    """Record one forward, loss and backward; what fails in it is a failure of the check.

    Raises:
        Skip: the time budget is used up.
    """
    setup = session.setup
    if setup.inputs is None and setup.own_loss is None:
        made = TrainingPass(reasons=dict.fromkeys(_OF_PASS, "no example input"))
    elif session.is_fake:
        made = _fake_pass(session)
    else:
        plan = session.plan
        made = session.measure(
            "training pass",
            lambda: run_training_pass(setup, seed=plan.seed, histograms=plan.details),
            reads_only=True,  # the gradients are new tensors: the caller's are taken off
        )
    session.failures += made.failures
    if made.failures:
        first = made.failures[0]
        made.reasons = {**dict.fromkeys(_OF_PASS, f"{first.name} ({first.code})"), **made.reasons}
    return made


def _fake_pass(session: Session) -> TrainingPass:
    start = time.perf_counter()
    with session.guard, warnings.catch_warnings(), fake_setup(session.setup) as fake:
        warnings.simplefilter("ignore")
        made = run_training_pass(fake, seed=session.plan.seed, values=False)
    session.timings["static pass"] = time.perf_counter() - start
    made.reasons.update(dict.fromkeys(("ForwardStats", "BackwardStats"), session.why_fake))
    return made


def graph(session: Session) -> Graph:
    """The recorded graph; a symbolic trace where no run was recorded to its end."""
    recorded = session.training_pass.graph
    if recorded is not None and recorded.complete:
        return recorded
    # Tracing runs the forward: what it writes to buffers and attributes has to be undone as well.
    found: Graph = session.measure(
        "symbolic trace", lambda: trace(session.setup.model, dict(session.setup.construction))
    )
    return found


def losses(session: Session) -> LossCalls:
    """The loss as the run computed it.

    Raises:
        Skip: no loss, or the run failed before it.
    """
    found: LossCalls = _part(session, "LossCalls", session.training_pass.losses, "no loss given")
    return found


def forward(session: Session) -> ForwardStats:
    """Statistics of the forward, with the op that made the first NaN or Inf where there is one.

    Raises:
        Skip: nothing was run on real values, or the forward raised.
    """
    found: ForwardStats = _part(session, "ForwardStats", session.training_pass.forward, "the forward was not measured")
    finite = found.outputs_finite and (found.loss is None or math.isfinite(found.loss))
    if finite and all(layer.finite for layer in found.layers):
        return found
    culprit = session.measure("non-finite search", lambda: find_non_finite(session.setup, seed=session.plan.seed))
    return replace(found, non_finite=culprit)


def backward(session: Session) -> BackwardStats:
    """Statistics of the gradients, with the op that made the first NaN or Inf where there is one.

    Raises:
        Skip: backward was not run, or raised.
    """
    found: BackwardStats = _part(session, "BackwardStats", session.training_pass.backward, "backward was not run")
    if found.finite:
        return found
    culprit = session.measure(
        "non-finite gradient search", lambda: find_non_finite_gradient(session.setup, seed=session.plan.seed)
    )
    return replace(found, non_finite=culprit)


def refused_lookup(session: Session) -> RefusedLookup:
    """The lookup that raised in the forward or in the loss, for an index that is out of range.

    Raises:
        Skip: none did.
    """
    made = session.training_pass
    found = made.recorder.refused_lookup if made.recorder is not None else None
    if found is None or not any(failure.code in ("RUN002", "RUN003") for failure in made.failures):
        raise Skip("no lookup raised")
    return found


def refused_norm(session: Session) -> RefusedNorm:
    """The normalization that raised in the forward, for a single value to take statistics of.

    Raises:
        Skip: none did.
    """
    made = session.training_pass
    found = made.recorder.refused_norm if made.recorder is not None else None
    if found is None or not any(failure.code == "RUN002" for failure in made.failures):
        raise Skip("no norm raised")
    return found


def _part(session: Session, name: str, found: Any, default: str) -> Any:
    if found is None:
        raise Skip(session.training_pass.reasons.get(name, default))
    return found
