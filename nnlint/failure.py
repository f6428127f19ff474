"""What kept a check from running: the RUN family. Every failure makes the exit status 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nnlint.finding import Finding, Location, Place

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
        "RUN009": "process-crashed",
        "RUN010": "model-not-inspectable",
        "RUN011": "no-update-observed",
        "RUN012": "script-failed",
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
    """

    code: str
    message: str
    fix: str = ""
    module: str = ""
    location: Location | None = None
    trace: str | None = None

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
                )
