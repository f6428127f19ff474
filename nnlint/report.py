"""The result of a check, as pydantic models: the Python API returns them and the JSON format is their dump."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nnlint.finding import Level

SCHEMA_VERSION = "1.0"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SourceLocation(_Model):
    """A line of source, and its text where the file could be read."""

    file: str
    line: int
    function: str | None = None
    text: str | None = None


class Symptom(_Model):
    """A finding of another rule that the finding above it explains."""

    code: str
    name: str
    message: str
    module: str = ""


class ReportedFinding(_Model):
    """One fault with its place, evidence and fix."""

    code: str
    name: str
    level: Level
    message: str
    module: str = ""
    modules: list[str] = Field(default_factory=list)
    location: SourceLocation | None = None
    evidence: dict[str, Any] = Field(default_factory=dict)
    fix: str = ""
    symptoms: list[Symptom] = Field(default_factory=list)
    fingerprint: str = ""
    confidence: str = "high"
    trace: str | None = Field(
        default=None, description="Python traceback of user code or of a crashed rule (RUN codes)"
    )


class Skipped(_Model):
    """A rule that could not be evaluated, and why."""

    code: str
    name: str = ""
    reason: str


class TargetReport(_Model):
    """Everything found and measured on one target."""

    target: str
    status: Literal["ok", "failed"] = "ok"
    subject: dict[str, Any] = Field(
        default_factory=dict, description="what was checked: model class, parameters, batch, loss, optimizer"
    )
    assumptions: list[str] = Field(default_factory=list)
    findings: list[ReportedFinding] = Field(default_factory=list)
    skipped: list[Skipped] = Field(default_factory=list)
    measurements: dict[str, Any] = Field(default_factory=dict)
    timings: dict[str, float] = Field(
        default_factory=dict,
        description="seconds; `build` is what importing and building the target took, `total` is all of it, "
        "`training_steps` is what the probes took in warm steps of this setup",
    )

    def count(self, level: Level) -> int:
        """Number of findings of exactly this level."""
        return sum(finding.level is level for finding in self.findings)


class Summary(_Model):
    """Findings by level over all targets."""

    errors: int = 0
    warnings: int = 0
    infos: int = 0


class FindingsError(AssertionError):
    """Raised by `Report.raise_for_errors`; the message is the list of findings."""


class Report(_Model):
    """The report of one `nnlint check`: one result for each target."""

    schema_version: str = SCHEMA_VERSION
    nnlint: str
    torch: str = ""
    seed: int = 0
    results: list[TargetReport] = Field(default_factory=list)
    summary: Summary = Field(default_factory=Summary)

    @property
    def findings(self) -> list[ReportedFinding]:
        """The findings of all targets, in order."""
        return [finding for result in self.results for finding in result.findings]

    @property
    def skipped(self) -> list[Skipped]:
        """The skipped rules of all targets."""
        return [skipped for result in self.results for skipped in result.skipped]

    def summarized(self) -> Report:
        """This report with its summary counted anew."""
        counts = {level: sum(result.count(level) for result in self.results) for level in Level}
        summary = Summary(errors=counts[Level.ERROR], warnings=counts[Level.WARNING], infos=counts[Level.INFO])
        return self.model_copy(update={"summary": summary})

    def exit_status(self, fail_on: Level | None = Level.ERROR) -> int:
        """0 clean, 1 findings at or above `fail_on` (None: never), 2 a target or a rule that could not be checked."""
        if not self.results or any(result.status == "failed" for result in self.results):
            return 2
        if any(finding.code.startswith("RUN") and finding.level is Level.ERROR for finding in self.findings):
            return 2
        if fail_on is not None and any(finding.level.at_least(fail_on) for finding in self.findings):
            return 1
        return 0

    def raise_for_errors(self, level: Level | str = Level.ERROR) -> None:
        """Raise `FindingsError` when the check failed or found anything at or above `level`; for use in tests."""
        if self.exit_status(Level(level)) == 0:
            return
        lines = [
            f"{finding.level.value} {finding.code} {finding.name} [{finding.module or '-'}]: {finding.message}"
            for finding in self.findings
            if finding.level.at_least(Level(level))
        ]
        raise FindingsError("\n".join(["nnlint:", *lines]))


def fingerprint(target: str, code: str, module: str, ordinal: int) -> str:
    """A stable identity of a finding: no line number and no measured value goes into it.

    `ordinal` tells apart findings of one rule at one module, in the order of the report.
    """
    return hashlib.sha256(f"{target}\0{code}\0{module}\0{ordinal}".encode()).hexdigest()[:16]
