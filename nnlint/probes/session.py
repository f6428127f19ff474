"""The evidence of one check: each piece measured when a rule first asks for it, kept, and measured once."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnlint.failure import Failure
from nnlint.finding import Skip
from nnlint.guard.state_guard import StateGuard
from nnlint.probes.dependence.outputs import first_samples, sample_count
from nnlint.probes.dependence.samples import Mixing
from nnlint.probes.evaluation.calls import EvalCalls
from nnlint.probes.evaluation.stats import EvalStats
from nnlint.probes.fake import fake_setup, needs_fake
from nnlint.probes.given.declared import Declared
from nnlint.probes.longer.known_losses import chance_loss, single_call
from nnlint.probes.longer.providers import DEEP_PROVIDERS
from nnlint.probes.training_pass.run import TrainingPass, find_non_finite, find_non_finite_gradient, run_training_pass
from nnlint.probes.updates.run import run_steps
from nnlint.probes.updates.stats import StepStats

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.lookups import RefusedLookup
    from nnlint.probes.given.batch import Batch
    from nnlint.probes.given.model import Model
    from nnlint.probes.given.optimizer import Optimizer
    from nnlint.probes.given.parameters import Parameters
    from nnlint.probes.training_pass.losses import LossCalls
    from nnlint.probes.training_pass.stats import BackwardStats, ForwardStats
    from nnlint.setup.training_setup import TrainingSetup


@dataclass(frozen=True)
class Plan:
    """How deep a session may go.

    Attributes:
        seed: of every probe.
        static: no forward on real values.
        deep: the longer probes too.
        probes: names of single longer probes to run without `deep`.
        deadline: `time.monotonic()` after which no further probe starts; None for no limit.
        on_step: called after each step of a longer probe with its name, the steps done and the steps planned.
    """

    seed: int = 0
    static: bool = False
    deep: bool = False
    probes: tuple[str, ...] = ()
    deadline: float | None = None
    on_step: Callable[[str, int, int], None] | None = None


#: Samples of the batch that the evaluation and independence probes run on.
_EVALUATED = 4


class Session:
    """Evidence about one training setup. Everything runs inside one state guard, rewound after each probe."""

    def __init__(self, setup: TrainingSetup, plan: Plan) -> None:
        self.setup = setup
        self.plan = plan
        self.timings: dict[str, float] = {}
        self.failures: list[Failure] = []
        self._cache: dict[str, Any] = {}

    def evidence(self, name: str) -> Any:
        """The evidence with this type name.

        Raises:
            Skip: it cannot be had; the reason is the same every time it is asked for.
        """
        if name not in self._cache:
            try:
                self._cache[name] = PROVIDERS[name](self)
            except Skip as skip:
                self._cache[name] = skip
        found = self._cache[name]
        if isinstance(found, Skip):
            raise Skip(found.reason)
        return found

    @cached_property
    def guard(self) -> StateGuard:
        """The snapshot of the state as the user handed it over."""
        return StateGuard.capture(self.setup)

    @cached_property
    def samples(self) -> int:
        """Samples in `batch_inputs`."""
        count = sample_count(self.setup)
        return count if self.batch_inputs is self.setup.inputs else min(count, _EVALUATED)

    @cached_property
    def batch_inputs(self) -> Any:
        """The first few samples of the batch: enough to tell what depends on what."""
        return first_samples(self.setup.inputs, sample_count(self.setup), _EVALUATED)

    @property
    def is_fake(self) -> bool:
        """Whether only shapes may be computed."""
        return self.plan.static or needs_fake(self.setup.model)

    def measure(self, name: str, probe: Callable[[], Any], *, reads_only: bool = False) -> Any:
        """Run a probe inside the state guard and note its time.

        Args:
            name: of the timing.
            probe: what to run.
            reads_only: the probe makes no backward into weights and no update: see `StateGuard.reading`.

        Raises:
            Skip: the time budget is used up.
        """
        if self.plan.deadline is not None and time.monotonic() > self.plan.deadline:
            raise Skip("the time budget was used up before this probe")
        start = time.perf_counter()
        try:
            with self.guard.reading() if reads_only else self.guard, warnings.catch_warnings():
                # What the user's own run warns of is not repeated for every probe, nor turned into an exception by a filter.
                warnings.simplefilter("ignore")
                return probe()
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start

    def close(self) -> None:
        """The caller's state again, bit for bit: what probes that only read left uncompared is compared now."""
        if "guard" in vars(self):
            self.guard.settle()

    def measured(self) -> Mapping[str, Any]:
        """The evidence had so far, by type name; `Skip` for what could not be had."""
        return dict(self._cache)

    @cached_property
    def training_pass(self) -> TrainingPass:
        """The recorded forward and backward; on fake tensors for a static check."""
        if self.setup.inputs is None and self.setup.own_loss is None:
            made = TrainingPass(reasons=dict.fromkeys(_OF_PASS, "no example input"))
        elif self.is_fake:
            made = self._fake_pass()
        else:
            made = self.measure("training pass", lambda: run_training_pass(self.setup, seed=self.plan.seed))
        self.failures += made.failures
        if made.failures:
            first = made.failures[0]
            made.reasons = {**dict.fromkeys(_OF_PASS, f"{first.name} ({first.code})"), **made.reasons}
        return made

    def _fake_pass(self) -> TrainingPass:
        start = time.perf_counter()
        with self.guard, warnings.catch_warnings(), fake_setup(self.setup) as fake:
            warnings.simplefilter("ignore")
            made = run_training_pass(fake, seed=self.plan.seed, values=False)
        self.timings["static pass"] = time.perf_counter() - start
        reason = (
            "static check: nothing is run on real values" if self.plan.static else "the model is on the meta device"
        )
        made.reasons.update(ForwardStats=reason, BackwardStats=reason)
        return made


_OF_PASS = ("ForwardStats", "BackwardStats", "LossCalls")


def _graph(session: Session) -> Graph:
    recorded = session.training_pass.graph
    if recorded is not None and recorded.complete:
        return recorded
    from nnlint.capture.symbolic import trace

    # Tracing runs the forward: what it writes to buffers and attributes has to be undone as well.
    found: Graph = session.measure(
        "symbolic trace", lambda: trace(session.setup.model, dict(session.setup.construction))
    )
    return found


def _losses(session: Session) -> LossCalls:
    found: LossCalls = _part(session, "LossCalls", session.training_pass.losses, "no loss given")
    return found


def _forward(session: Session) -> ForwardStats:
    found: ForwardStats = _part(session, "ForwardStats", session.training_pass.forward, "the forward was not measured")
    finite = found.outputs_finite and (found.loss is None or math.isfinite(found.loss))
    if finite and all(layer.finite for layer in found.layers):
        return found
    culprit = session.measure("non-finite search", lambda: find_non_finite(session.setup, seed=session.plan.seed))
    return replace(found, non_finite=culprit)


def _backward(session: Session) -> BackwardStats:
    found: BackwardStats = _part(session, "BackwardStats", session.training_pass.backward, "backward was not run")
    if found.finite:
        return found
    culprit = session.measure(
        "non-finite gradient search", lambda: find_non_finite_gradient(session.setup, seed=session.plan.seed)
    )
    return replace(found, non_finite=culprit)


def _eval(session: Session) -> EvalStats:
    if session.is_fake:
        raise Skip(
            "static check: nothing is run on real values" if session.plan.static else "the model is on the meta device"
        )
    if any(failure.code == "RUN002" for failure in session.training_pass.failures):
        raise Skip(session.training_pass.reasons["ForwardStats"])
    if session.setup.inputs is None:
        raise Skip("no example input")
    return EvalStats(session)


def _refused_lookup(session: Session) -> RefusedLookup:
    made = session.training_pass
    found = made.recorder.refused_lookup if made.recorder is not None else None
    if found is None or not any(failure.code == "RUN002" for failure in made.failures):
        raise Skip("no embedding raised")
    return found


def _mixing(session: Session) -> Mixing:
    session.evidence("EvalStats")
    return Mixing(session)


def _steps(session: Session) -> StepStats:
    forward, backward = session.evidence("ForwardStats"), session.evidence("BackwardStats")
    gradients, session.training_pass.gradients = session.training_pass.gradients, {}

    call = single_call(session.training_pass.losses) if session.training_pass.losses is not None else None
    chance = chance_loss(call, call.target_value) if call is not None else None

    def run() -> StepStats:
        return run_steps(
            session.setup,
            session.guard,
            forward,
            gradients,
            seed=session.plan.seed,
            surrogate=backward.surrogate,
            chance=chance,
        )

    found: StepStats = session.measure("optimizer steps", run)
    return found


def _part(session: Session, name: str, found: Any, default: str) -> Any:
    if found is None:
        raise Skip(session.training_pass.reasons.get(name, default))
    return found


def _model(session: Session) -> Model:
    from nnlint.probes.given.model import Model

    return Model.from_setup(session.setup)


def _batch(session: Session) -> Batch:
    from nnlint.probes.given.batch import Batch

    return Batch.from_setup(session.setup)


def _optimizer(session: Session) -> Optimizer:
    from nnlint.probes.given.optimizer import Optimizer

    return Optimizer.from_setup(session.setup)


def _parameters(session: Session) -> Parameters:
    from nnlint.probes.given.parameters import Parameters

    if needs_fake(session.setup.model):
        raise Skip("the model is on the meta device: its parameters have no values")
    return Parameters.from_setup(session.setup)


#: How each piece of evidence is had. A new probe adds its provider here and its type to `nnlint.rule.NEEDS`.
PROVIDERS: Mapping[str, Callable[[Session], Any]] = {
    "Graph": _graph,
    "Model": _model,
    "Parameters": _parameters,
    "Batch": _batch,
    "LossCalls": _losses,
    "RefusedLookup": _refused_lookup,
    "Optimizer": _optimizer,
    "ForwardStats": _forward,
    "BackwardStats": _backward,
    "EvalStats": _eval,
    "EvalCalls": EvalCalls,
    "Mixing": _mixing,
    "StepStats": _steps,
    **DEEP_PROVIDERS,
    "Declared": lambda session: Declared.of(session.setup),
}
