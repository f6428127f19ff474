"""The evidence of one check: each piece measured when a rule first asks for it, kept, and measured once. Knows no probe."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnlint.evidence import TABLE
from nnlint.finding import OutOfBudget, Skip
from nnlint.frames import is_fatal
from nnlint.guard.state_guard import RestoreError, StateGuard
from nnlint.probes.fake import needs_fake
from nnlint.probes.lazy import materialized
from nnlint.probes.printed import Printed
from nnlint.probes.torch_errors import one_line, probe_failure
from nnlint.samples import first_samples, sample_count

if TYPE_CHECKING:
    from nnlint.config import CheckSettings
    from nnlint.failure import Failure
    from nnlint.finding import Location
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
        budget: seconds that the probes may take; None for no limit. The longer probes count it in work, so that the same seed gives
            the same report; the clock only stops what takes longer than foreseen.
        deadline: `time.monotonic()` at which the budget is used up.
        on_step: called after each step of a longer probe with its name, the steps done and the steps planned.
        details: measure what only pictures show too: histograms.
    """

    seed: int = 0
    static: bool = False
    deep: bool = False
    probes: tuple[str, ...] = ()
    budget: float | None = None
    deadline: float | None = None
    on_step: Callable[[str, int, int], None] | None = None
    details: bool = False

    @classmethod
    def of(cls, settings: CheckSettings, on_step: Callable[[str, int, int], None]) -> Plan:
        """The plan that the settings of a check ask for; the time of its budget begins now."""
        return cls(
            seed=settings.seed,
            static=settings.static,
            deep=settings.deep,
            probes=settings.probes,
            budget=settings.budget,
            deadline=time.monotonic() + settings.budget if settings.budget is not None else None,
            on_step=on_step,
            details=settings.details,
        )


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
        self.work = 0.0  # multiply-adds that the longer probes have spent, as `longer.effort` counts them
        self.cut: dict[str, str] = {}  # what the time budget cut -> how
        self.is_observed = bool(observed)
        self._cache: dict[str, Any] = dict(observed or {})
        self._raised: set[tuple[str, Location | None]] = set()

    def evidence(self, name: str) -> Any:
        """The evidence with this type name.

        Raises:
            Skip: it cannot be had; the reason is the same every time it is asked for.
            RestoreError: a probe could not put the state back; nothing more can be measured.
        """
        if name not in self._cache:
            self._cache[name] = self.value_or_reason(name, lambda: TABLE[name].load()(self))
        found = self._cache[name]
        if isinstance(found, Skip):
            raise type(found)(found.reason)
        return found

    def value_or_reason(self, probe: str, run: Callable[[], Any]) -> Any:
        """What `run` gives, or the `Skip` that says why it cannot be had: an exception is the failure of the probe.

        Raises:
            RestoreError: the state could not be put back.
        """
        try:
            return run()
        except Skip as skip:
            return skip
        except RestoreError:
            raise
        except BaseException as error:
            if is_fatal(error):
                raise
            return self.failed(probe, error)

    def failed(self, probe: str, error: BaseException) -> Skip:
        """Note that a probe raised, once for each exception; the `Skip` for what needs the probe.

        Args:
            probe: its name.
            error: what it raised.
        """
        failure = probe_failure(probe, error)
        if failure.location is None and "nnlint_kept" in vars(error):
            failure = replace(failure, location=self.setup.construction.get(failure.module))
        key = (one_line(error), failure.location)
        if key not in self._raised:
            self._raised.add(key)
            self.failures.append(failure)
        return Skip(f"the probe {probe!r} raised {one_line(error)} (RUN008)")

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

    def use_whole_batch(self) -> None:
        """Run the evaluation and independence probes on the whole batch: the model takes no smaller one."""
        vars(self)["batch_inputs"] = self.setup.inputs
        vars(self).pop("samples", None)

    def check_clock(self, probe: str, how_far: str) -> None:
        """Stop where the time of the budget is over.

        Raises:
            OutOfBudget: it is; noted in `cut`.
        """
        if self.plan.deadline is not None and time.monotonic() > self.plan.deadline:
            raise self.out_of_budget(probe, f"stopped by the clock, {how_far}")

    def out_of_budget(self, probe: str, how: str) -> OutOfBudget:
        """Note that the budget cut a probe; what to raise."""
        self.cut.setdefault(probe, how)
        return OutOfBudget(f"the time budget was used up: {probe} was {how}")

    def measure(self, name: str, probe: Callable[[], Any], *, reads_only: bool = False, attempt: str = "") -> Any:
        """Run a probe inside the state guard and note its time.

        Args:
            name: of the timing.
            probe: what to run.
            reads_only: the probe makes no update: see `StateGuard.reading`.
            attempt: says, for something that training never does (a smaller batch, other inputs, dropout replaced), what cannot be
                done where it raises: no failure of the check then.

        Raises:
            Skip: the time budget is used up, or the probe raised: the failure is noted.
            RestoreError: the state could not be put back; nothing more can be measured.
        """
        self.check_clock(name, "not begun")
        start = time.perf_counter()
        try:
            guard = self.guard.reading() if reads_only else self.guard
            with guard, self._printed.during_pass(), warnings.catch_warnings():
                # What the user's own run warns of is not repeated for every probe, nor turned into an exception by a filter.
                warnings.simplefilter("ignore")
                return probe()
        except (Skip, RestoreError):
            raise
        except BaseException as error:
            if is_fatal(error):
                raise
            if attempt:
                raise Skip(f"{attempt}: {one_line(error)}") from error
            raise self.failed(name, error) from error
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
