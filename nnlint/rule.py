"""The `@rule` decorator: metadata and documentation of a rule, validated where the rule is defined."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from nnlint.evidence import NEEDS, OBSERVED
from nnlint.finding import Finding, Level

if TYPE_CHECKING:
    from nnlint.options import Options

Check: TypeAlias = Callable[..., Iterator[Finding]]

#: The entry point group of rule packs.
GROUP = "nnlint.rules"

HEADINGS = ("What it does", "Why is this bad?", "Example", "Use instead", "References")

_CODE = re.compile(r"[A-Z]{3}\d{3}")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class RuleError(Exception):
    """A rule is defined wrongly: the message names the file and what is missing."""


@dataclass(frozen=True)
class Rule:
    """A registered rule: what it is called, what it needs, and its check."""

    code: str
    name: str
    level: Level
    since: str
    check: Check
    evidence: dict[str, str]  # parameter name -> evidence type name
    optional: frozenset[str]  # parameters annotated `... | None`: None where the evidence cannot be had
    options: type[Options] | None
    options_parameter: str | None
    explains: tuple[str, ...] = ()
    file: str = ""
    doc: str = field(default="", repr=False)
    preview: bool = False  # not measured on healthy models yet: reports at info, whatever its level
    charts: tuple[str, ...] = ()  # tables and charts of a report that show what it measures: "layers", "steps", ...

    @property
    def family(self) -> str:
        """The first three letters of the code."""
        return self.code[:3]

    @property
    def is_observed(self) -> bool:
        """Whether it judges what a training script did, so that a check of a model cannot run it."""
        return bool(self._required & OBSERVED)

    @property
    def is_of_the_loop(self) -> bool:
        """Whether the log of a training script is all that it needs."""
        return self._required <= OBSERVED

    @property
    def _required(self) -> frozenset[str]:
        return frozenset(kind for parameter, kind in self.evidence.items() if parameter not in self.optional)

    @property
    def summary(self) -> str:
        """First line of the documentation page."""
        return self.doc.splitlines()[0]

    @property
    def required(self) -> tuple[str, ...]:
        """The evidence, by type name, without which the rule cannot be evaluated."""
        return tuple(kind for parameter, kind in self.evidence.items() if parameter not in self.optional)

    @property
    def needs(self) -> tuple[str, ...]:
        """The catalogue's words for the evidence asked for, in the order of `NEEDS`."""
        wanted = {NEEDS[kind] for kind in self.required}
        return tuple(dict.fromkeys(need for need in NEEDS.values() if need in wanted))


def rule(
    code: str,
    name: str,
    *,
    level: str,
    since: str,
    explains: tuple[str, ...] | list[str] = (),
    preview: bool = False,
) -> Callable[[Check], Check]:
    """Declare a check function as a rule.

    Args:
        code: three letters and three digits, permanent (`LOS001`).
        name: the bad pattern in kebab case (`softmax-before-cross-entropy`).
        level: "error", "warning" or "info".
        since: the nnlint version that first had the rule.
        preview: the rule has not been measured on healthy models yet: it reports at info until the configuration gives it a level.
        explains: codes of rules whose findings are symptoms of this one when both fire at the same modules; a pack may say
            it for all its rules in a module `causes` instead.

    Raises:
        RuleError: metadata, parameters or documentation headings are wrong; the message names the file.
    """

    def register(check: Check) -> Check:
        made = _validated(check, code=code, name=name, level=level, since=since, explains=tuple(explains))
        vars(check)["__nnlint_rule__"] = replace(made, preview=preview)
        return check

    return register


def _validated(check: Check, *, code: str, name: str, level: str, since: str, explains: tuple[str, ...]) -> Rule:
    file = inspect.getsourcefile(check) or "<unknown>"

    def refuse(reason: str) -> RuleError:
        return RuleError(f"{file}: rule {code} {name}: {reason}")

    if not _CODE.fullmatch(code):
        raise refuse("the code is three capitals and three digits")
    if not _NAME.fullmatch(name):
        raise refuse("the name is kebab-case")
    if level not in {known.value for known in Level}:
        raise refuse(f"level {level!r} is none of error, warning, info")
    doc = inspect.getdoc(check) or ""
    missing = [heading for heading in HEADINGS if f"## {heading}" not in doc]
    if missing:
        raise refuse(f"the docstring lacks the heading(s) {', '.join(missing)}")
    evidence, optional, options, parameter = _parameters(check, refuse)
    return Rule(code, name, Level(level), since, check, evidence, optional, options, parameter, explains, file, doc)


def _parameters(
    check: Check, refuse: Callable[[str], RuleError]
) -> tuple[dict[str, str], frozenset[str], type[Options] | None, str | None]:
    """Split the check's parameters into evidence (by the name of their type), which of it is optional, and options."""
    evidence: dict[str, str] = {}
    optional: set[str] = set()
    options: type[Options] | None = None
    options_parameter: str | None = None
    namespace: dict[str, Any] = getattr(check, "__globals__", {})
    for parameter in inspect.signature(check).parameters.values():
        annotation = parameter.annotation
        named = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
        kind = named.removesuffix(" | None")
        candidate = namespace.get(kind, annotation)
        if kind in NEEDS:
            evidence[parameter.name] = kind
            if kind != named:
                optional.add(parameter.name)
        elif isinstance(candidate, type) and getattr(candidate, "is_nnlint_options", False):
            options, options_parameter = candidate, parameter.name
        else:
            raise refuse(f"parameter {parameter.name!r} has type {kind!r}; known evidence: {', '.join(NEEDS)}")
    if not evidence.keys() - optional:
        raise refuse("it asks for no evidence")
    return evidence, frozenset(optional), options, options_parameter
