"""What kept a check from running: the RUN family. Every failure at the level `error` makes the exit status 2."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nnlint.finding import Finding, Level, Location, Place

#: Codes and names of the RUN rules; their pages are in the rule pack.
FAILURES: Mapping[str, str] = MappingProxyType(
    {
        "RUN001": "target-not-loaded",
        "RUN002": "forward-failed",
        "RUN003": "loss-failed",
        "RUN004": "backward-failed",
        "RUN005": "no-example-input",
        "RUN006": "out-of-budget",
        "RUN007": "rule-crashed",
        "RUN008": "probe-failed",
        "RUN009": "process-crashed",
        "RUN010": "model-not-inspectable",
        "RUN011": "no-update-observed",
        "RUN012": "script-failed",
        "RUN013": "state-not-restored",
    }
)

#: Failures of a training script, which a finding about its loop may explain: then they are no failure of the check.
SCRIPT = frozenset({"RUN012"})


@dataclass(frozen=True)
class Failure:
    """One thing that could not be run.

    Attributes:
        code: a RUN code.
        message: what happened, with the exception's own words.
        fix: what to change.
        module: path of the innermost module being called.
        location: the user's line.
        trace: the traceback of the user's code.
        level: below `error` where the check is complete all the same: nothing that runs by default was lost.
    """

    code: str
    message: str
    fix: str = ""
    module: str = ""
    location: Location | None = None
    trace: str | None = None
    level: Level = Level.ERROR

    def fails(self, shown: Collection[str]) -> bool:
        """Whether the check is incomplete for it; `shown` are the codes of the findings in the report."""
        return self.level is Level.ERROR and (self.code not in SCRIPT or self.code in shown)

    @property
    def name(self) -> str:
        """The rule's name."""
        return FAILURES[self.code]


@dataclass(frozen=True)
class Failures:
    """Evidence of the RUN rules: everything that failed in this check."""

    found: tuple[Failure, ...]

    def of(self, code: str) -> Iterator[Finding]:
        """The failures with this code, as findings."""
        for failure in self.found:
            if failure.code == code:
                yield Finding(
                    at=Place(failure.module, failure.location),
                    message=failure.message,
                    fix=failure.fix,
                    evidence={"trace": failure.trace} if failure.trace else {},
                    level=failure.level,
                )


def out_of_budget(budget: float | None, cut: Mapping[str, str], lost: Mapping[str, bool]) -> Failure:
    """What the time budget cut: a failure of the check only where a rule that runs by default was lost.

    Args:
        budget: in seconds; there is one where anything was cut.
        cut: the probes that were cut, and how.
        lost: codes of the rules that could not be judged, and whether each runs by default.
    """
    what = "; ".join(f"{probe} ({how})" for probe, how in cut.items())
    rules = f"; {', '.join(sorted(lost))} could not be judged" if lost else ""
    return Failure(
        "RUN006",
        f"the time budget of {budget or 0.0:g} s cut the check short: {what}{rules}",
        fix="raise --budget, or make a step cheaper: --batch-size",
        level=Level.ERROR if any(lost.values()) else Level.INFO,
    )


def not_restored(reason: str, trace: str) -> Failure:
    """The end of a check whose model is no longer what the user gave."""
    fix = (
        "keep in forward only state that can be written back (tensors, plain attributes), and load the model anew before you use it: "
        "the object that was checked is changed"
    )
    if "CUDA error" in reason:  # torch's words: whatever is asked of the device from now on raises this
        fix = "check with --device cpu, where the call that failed raises with its line; this process cannot use the device any more"
    return Failure("RUN013", f"{reason.splitlines()[0]}: the check ended there", fix=fix, trace=trace)
