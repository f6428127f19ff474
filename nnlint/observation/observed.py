"""What a check of an observed script adds to a check of a setup: evidence that is already there, and which rules it judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnlint.finding import Level, Skip

if TYPE_CHECKING:
    from nnlint.failure import Failure
    from nnlint.rule import Rule
    from nnlint.triage import Raised


@dataclass(frozen=True)
class Observed:
    """One target of the report of `nnlint run`.

    Attributes:
        target: its name in the report.
        evidence: by type name; a `Skip` says why a piece cannot be had.
        judges_loop: it runs the rules that need nothing but the log; one target of a script does.
        judges_setup: it runs the rules that need a training setup.
        assumptions: what is to be said beside those of the setup.
        no_setup: why rules that need a setup are skipped, where there is none.
        failed: what went wrong with the script or its observation.
        unless_explained: what went wrong unless an error of the loop says why.
        measured: entries of the report's measurements.
        raised: the exception that ended the script, on one line.
        unless_repeated: the failure that tells of it, unless the setup's own run raises the same, or an error of the loop says
            that it leads to this exception (its evidence `raised`).
    """

    target: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    judges_loop: bool = True
    judges_setup: bool = True
    assumptions: tuple[str, ...] = ()
    no_setup: str = "no training setup could be made of what the script did"
    failed: tuple[Failure, ...] = ()
    unless_explained: tuple[Failure, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)
    raised: str = ""
    unless_repeated: tuple[Failure, ...] = ()

    def judges(self, rule: Rule) -> bool:
        """Whether this target runs the rule."""
        return self.judges_loop if rule.is_of_the_loop else self.judges_setup

    def failures(self, raised: Iterable[Raised], known: Iterable[Failure]) -> list[Failure]:
        """What went wrong, once it is known what the rules found and what failed in the setup's own run."""
        explained = any(item.rule.is_of_the_loop and item.level is Level.ERROR for item in raised)
        causes = (str(item.finding.evidence.get("raised", "")) for item in raised if item.level is Level.ERROR)
        said = (*causes, *(failure.message for failure in known))
        repeated = bool(self.raised) and any(self.raised in text for text in said)
        return [
            *self.failed,
            *(() if explained else self.unless_explained),
            *(() if repeated else self.unless_repeated),
        ]


def unobserved(_: object) -> Any:
    """Stands for the evidence about a script where a model is checked.

    Raises:
        Skip: always.
    """
    raise Skip("needs a training script: use `nnlint run`")
