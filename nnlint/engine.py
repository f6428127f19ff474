"""Runs the rules on a target: resolve, measure what the selected rules ask for, judge, triage. Knows no rule by name."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnlint import registry as registries
from nnlint.crashes import crash, place, user_fault
from nnlint.describe import measurements_of, source_location, subject_of, training_steps
from nnlint.details import details_of
from nnlint.evidence import PROBES, runs_by_default
from nnlint.failure import Failure, Failures, not_restored, out_of_budget
from nnlint.finding import Location, OutOfBudget, Skip
from nnlint.frames import format_trace, is_fatal, is_raised_by_user
from nnlint.observation.quiet import unwatched
from nnlint.progress import Follower, Progress
from nnlint.provenance import Owner, owner_of
from nnlint.report import ReportedFinding, Skipped, Symptom, TargetReport, fingerprint
from nnlint.rule import Rule
from nnlint.selection import level_of, options_of, selected_rules
from nnlint.suppress import accepted_by_modules
from nnlint.triage import Raised, ordinals, triage

if TYPE_CHECKING:
    from nnlint.config import CheckSettings
    from nnlint.observation.observed import Observed
    from nnlint.probes.session import Session
    from nnlint.registry import Registry
    from nnlint.setup.training_setup import TrainingSetup


@dataclass
class _Check:
    """A check while it runs."""

    name: str
    settings: CheckSettings
    rules: tuple[Rule, ...]
    listen: Progress | None
    started: float = field(default_factory=time.perf_counter)
    built: float | None = None
    observed: Observed | None = None
    session: Session | None = None
    raised: list[Raised] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    judged: set[str] = field(default_factory=set)
    cut: list[Rule] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @cached_property
    def follower(self) -> Follower:
        """Who is told how far the check is."""
        return Follower(self.listen, lambda: _report(self))


def check(
    target: object,
    settings: CheckSettings,
    *,
    registry: Registry | None = None,
    on_progress: Progress | None = None,
    observed: Observed | None = None,
    name: str = "",
) -> TargetReport:
    """Check one target.

    Args:
        target: a target string (`pkg.module:attr`, ...), or a live model, training setup or anything a build function may return;
            None where only a training script's log is judged.
        settings: what to run and how.
        registry: the rules; all installed packs by default.
        on_progress: called with the report so far after each piece of evidence, so that a killed check keeps what it had.
        observed: what a training script did, where the target comes from one.
        name: of the target in the report, where it has another.

    Returns:
        The report. Faults of user code are RUN findings in it; its status is then "failed".

    Raises:
        SettingsError: the settings name an unknown rule or a wrong option.
        SeveralPlayers: the target holds several setups; see `nnlint.players`.
    """
    known = registry if registry is not None else registries.load()
    called = name or (target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__))
    rules = selected_rules(known, settings, observed=observed)
    running = _Check(
        observed.target if observed else called, settings, rules, on_progress, observed=observed
    )
    with contextlib.redirect_stdout(sys.stderr), unwatched():
        if target is None and observed is not None:
            _judge_log(running)
        elif (setup := _resolve(target, running)) is not None:
            running.built = time.perf_counter()
            _run_rules(running, setup)
            if setup.weights is not None and not isinstance(target, str):
                setup.weights.undo(setup.model)  # the caller's model is as it was
    if observed is not None:
        running.failures += observed.failures(running.raised, running.failures)
    _raise_failures(running, known)
    report = _report(running)
    running.follower.ended(report)
    return report


def warm(*, several: bool) -> None:
    """Import what every check needs, before a process is forked for each target.

    Args:
        several: more than one target is checked: what nearly all of them import is imported once.
    """
    import nnlint.probes.session
    import nnlint.setup.target.resolve  # noqa: F401
    from nnlint.capture.torch_private import import_dynamo

    registries.load()
    if several:
        import_dynamo()


# -------------------------------------------------------------------- setup


def _resolve(target: object, running: _Check) -> TrainingSetup | None:
    from nnlint.setup import SetupError, SetupOptions, SeveralPlayers, coerce
    from nnlint.setup.target.resolve import resolve
    from nnlint.setup.training_setup import TrainingSetup

    if running.observed is not None and isinstance(target, TrainingSetup):
        return target  # what the script did needs no completion
    options = SetupOptions.from_settings(running.settings)
    try:
        return resolve(target, options) if isinstance(target, str) else coerce(target, options)
    except SeveralPlayers:
        raise
    except SetupError as error:
        told = Failure(error.code, error.message, error.fix, error.module, error.location, error.trace)
        running.failures.append(told)
        return error.setup
    except Exception as error:
        if not is_raised_by_user(error):
            raise
        running.failures.append(user_fault(error))
        return None


# -------------------------------------------------------------------- rules


def _run_rules(running: _Check, setup: TrainingSetup) -> None:
    from nnlint.guard.state_guard import RestoreError
    from nnlint.probes.session import Plan, Session
    from nnlint.setup.users_code import own_default_device

    settings = running.settings
    plan = Plan.of(settings, running.follower.stepped)
    evidence = running.observed.evidence if running.observed is not None else {}
    running.session = session = Session(setup, plan, evidence)
    running.follower.measured()  # the model is loaded: from here on a dying process is not a bad target
    try:
        with own_default_device(), contextlib.closing(session):
            _judge(running, session)
    except RestoreError as error:
        running.failures.append(not_restored(str(error), format_trace(error)))
        reason = "the check ended: the state could not be restored (RUN013)"
        left = (rule for rule in running.rules if rule.code not in running.judged)
        running.skipped += [Skipped(code=rule.code, name=rule.name, reason=reason) for rule in left]
    running.failures += session.failures
    if session.cut:
        lost = {rule.code: runs_by_default(rule.required) for rule in running.cut}
        running.failures.append(out_of_budget(settings.budget, session.cut, lost))


def _judge(running: _Check, session: Session) -> None:
    """Run the rules, and with them the probes that they need."""
    settings = running.settings
    for rule in running.rules:
        measured = len(session.timings)
        _run_rule(rule, running, session)
        if len(session.timings) > measured:
            running.follower.measured()
    for name in settings.probes:  # asked for by name: measured even where no selected rule needs it
        with contextlib.suppress(Skip):
            session.evidence(PROBES[name])
    # A failed pass is a failure of the check even where no selected rule needed it.
    with contextlib.suppress(Skip):
        session.evidence("TrainingPass")


@dataclass(frozen=True)
class _Log:
    """The evidence of a check that has no setup."""

    known: Mapping[str, Any]
    reason: str

    def evidence(self, name: str) -> Any:
        """The evidence with this type name, or `Skip`."""
        found = self.known.get(name, Skip(self.reason))
        if isinstance(found, Skip):
            raise Skip(found.reason)
        return found


def _judge_log(running: _Check) -> None:
    """Run the rules on the log of a script alone."""
    observed = running.observed
    log = _Log(observed.evidence, observed.no_setup) if observed is not None else _Log({}, "nothing was observed")
    for rule in running.rules:
        _run_rule(rule, running, log)


def _run_rule(rule: Rule, running: _Check, session: Session | _Log) -> None:
    """Let a rule judge. What it found before it could go no further is kept."""
    from nnlint.guard.state_guard import RestoreError

    running.judged.add(rule.code)
    try:
        evidence = {parameter: _evidence(session, rule, parameter) for parameter in rule.evidence}
        if rule.options_parameter is not None:
            evidence[rule.options_parameter] = options_of(rule, running.settings)
        for finding in rule.check(**evidence):
            running.raised.append(Raised(rule, finding, level_of(rule, finding, running.settings)))
    except Skip as skip:
        running.skipped.append(Skipped(code=rule.code, name=rule.name, reason=skip.reason))
        if isinstance(skip, OutOfBudget):
            running.cut.append(rule)
    except RestoreError:
        running.judged.discard(rule.code)
        raise
    except BaseException as error:
        if is_fatal(error):
            raise
        failure = crash(rule, error)
        if failure.code == "RUN007" or all(place(failure) != place(known) for known in running.failures):
            running.failures.append(failure)
        reason = "the rule crashed" if failure.code == "RUN007" else "code of the target raised"
        running.skipped.append(Skipped(code=rule.code, name=rule.name, reason=f"{reason} ({failure.code})"))


def _evidence(session: Session | _Log, rule: Rule, parameter: str) -> Any:
    """What a parameter of a rule asks for; None where optional evidence cannot be had."""
    try:
        return session.evidence(rule.evidence[parameter])
    except Skip:
        if parameter in rule.optional:
            return None
        raise


def _raise_failures(running: _Check, registry: Registry) -> None:
    """Let the RUN rules, which are always on, put the failures into words."""
    evidence = Failures(tuple(running.failures))
    for rule in registry.rules:
        if "Failures" in rule.evidence.values():
            running.raised += [
                Raised(rule, finding, finding.level or rule.level) for finding in rule.check(failures=evidence)
            ]


# -------------------------------------------------------------------- report


def _report(running: _Check) -> TargetReport:
    session = running.session
    lines = session.setup.script_lines if session is not None else {}
    findings = list(_findings(running.name, triage(running.raised), lines.get("model")))
    shown = {finding.code for finding in findings}
    report = TargetReport(
        target=running.name,
        status="failed" if any(failure.fails(shown) for failure in running.failures) else "ok",
        findings=findings,
        skipped=sorted(running.skipped, key=lambda skipped: skipped.code),
        timings={"total": time.perf_counter() - running.started},
    )
    observed = running.observed
    said, seen = (observed.assumptions, dict(observed.measured)) if observed is not None else ((), {})
    if session is None:
        return report.model_copy(update={"assumptions": list(said), "measurements": seen})
    building = {} if running.built is None else {"build": running.built - running.started}
    timings = {**session.timings, **building, **report.timings, **training_steps(session)}
    described = {
        "subject": subject_of(session),
        "assumptions": [*said, *session.setup.assumptions],
        "measurements": measurements_of(session) | (details_of(session) if running.settings.details else {}) | seen,
        "timings": timings,
    }
    return accepted_by_modules(report.model_copy(update=described), session.setup.model.named_modules(), running.rules)


def _findings(target: str, kept: list[Raised], otherwise: Location | None) -> Iterator[ReportedFinding]:
    """The findings as they are reported; `otherwise` is the line of those that have none of their own."""
    for item, ordinal in zip(kept, ordinals(kept), strict=True):
        finding = item.finding
        evidence = dict(finding.evidence)
        trace = evidence.pop("trace", None)
        location = _line_of(item, otherwise)
        yield ReportedFinding(
            code=item.rule.code,
            name=item.rule.name,
            level=item.level,
            message=finding.message,
            module=item.module,
            modules=[path for path in finding.modules if path != item.module],
            location=source_location(location) if location is not None else None,
            evidence=evidence,
            fix=finding.fix,
            symptoms=[
                Symptom(code=under.rule.code, name=under.rule.name, message=under.finding.message, module=under.module)
                for under in item.symptoms
            ],
            fingerprint=fingerprint(target, item.rule.code, item.module, ordinal),
            confidence=finding.confidence,
            trace=str(trace) if trace is not None else None,
        )


def _line_of(item: Raised, otherwise: Location | None) -> Location | None:
    """The finding's own line, the script's where that is inside a library; of one without, that of a symptom in the loop."""
    own = item.finding.at.location if item.finding.at is not None else None
    if own is None:
        ats = (part.finding.at for part in item.symptoms if part.rule.is_observed)
        return next((at.location for at in ats if at is not None and at.location is not None), otherwise)
    return own if otherwise is None or owner_of(own.file) is Owner.USER else otherwise
