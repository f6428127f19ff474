"""The evidence of one check: each piece measured when a rule first asks for it, kept, and measured once. Knows no probe."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnlint.evidence import TABLE
from nnlint.finding import Skip
from nnlint.guard.state_guard import StateGuard
from nnlint.probes.fake import needs_fake
from nnlint.probes.lazy import materialized
from nnlint.probes.printed import Printed
from nnlint.samples import first_samples, sample_count

if TYPE_CHECKING:
    from nnlint.failure import Failure
    from nnlint.probes.training_pass.run import TrainingPass
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
        details: measure what only pictures show too: histograms.
    """

    seed: int = 0
    static: bool = False
    deep: bool = False
    probes: tuple[str, ...] = ()
    deadline: float | None = None
    on_step: Callable[[str, int, int], None] | None = None
    details: bool = False


#: Samples of the batch that the evaluation and independence probes run on.
_EVALUATED = 4


class Session:
    """Evidence about one training setup. Everything runs inside one state guard, rewound after each probe."""

    def __init__(self, setup: TrainingSetup, plan: Plan, observed: Mapping[str, Any] | None = None) -> None:
        """Begin with what is known: `observed` is evidence about the training script, by type name."""
        self.setup = setup if plan.static else materialized(setup, seed=plan.seed)
        self.plan = plan
        self.timings: dict[str, float] = {}
        self.failures: list[Failure] = []
        self._printed = Printed()
        self._cache: dict[str, Any] = dict(observed or {})

    def evidence(self, name: str) -> Any:
        """The evidence with this type name.

        Raises:
            Skip: it cannot be had; the reason is the same every time it is asked for.
        """
        if name not in self._cache:
            try:
                self._cache[name] = TABLE[name].load()(self)
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

    @property
    def why_fake(self) -> str:
        """The reason for `is_fake`, as a skipped rule shows it."""
        return "static check: nothing is run on real values" if self.plan.static else "the model is on the meta device"

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
            guard = self.guard.reading() if reads_only else self.guard
            with guard, self._printed.during_pass(), warnings.catch_warnings():
                # What the user's own run warns of is not repeated for every probe, nor turned into an exception by a filter.
                warnings.simplefilter("ignore")
                return probe()
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start

    def close(self) -> None:
        """The caller's state again, bit for bit: what probes that only read left uncompared is compared now."""
        if "guard" in vars(self):
            self.guard.settle()
        if self._printed.remark:
            self.setup = self.setup.with_assumption(self._printed.remark)

    def measured(self) -> Mapping[str, Any]:
        """The evidence had so far, by type name; `Skip` for what could not be had."""
        return dict(self._cache)

    @property
    def training_pass(self) -> TrainingPass:
        """The recorded forward and backward; on fake tensors for a static check.

        Raises:
            Skip: the time budget was used up before it.
        """
        found: TrainingPass = self.evidence("TrainingPass")
        return found
