"""What a rule says: levels, places, findings. No torch here: `nnlint rules` and `--help` import this module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias

#: A measured number, its threshold, a name or a short list of them: whatever JSON can carry.
Evidence: TypeAlias = "str | int | float | bool | list[Evidence] | dict[str, Evidence] | None"


class Level(str, Enum):
    """How grave a finding is. `error` fails a check by default; `info` never does on its own."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Position in the order info < warning < error."""
        return _RANKS[self]

    def at_least(self, other: Level) -> bool:
        """Whether this level is as grave as `other`, or graver."""
        return self.rank >= other.rank


_RANKS = {Level.INFO: 0, Level.WARNING: 1, Level.ERROR: 2}


@dataclass(frozen=True)
class Location:
    """A line of source code.

    `function` is the qualified name of the function that holds the line, where it is known.
    """

    file: str
    line: int
    function: str | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def short(self) -> str:
        """`model.py:12`, for a message."""
        return f"{self.file.rsplit('/', 1)[-1]}:{self.line}"


class Located(Protocol):
    """Anything a finding can be pinned to: an op of the graph, a layer's statistics, a parameter, a loss call."""

    @property
    def module_path(self) -> str:
        """Dotted path of the module, as in `named_modules()`; empty for the model itself."""

    @property
    def location(self) -> Location | None:
        """The source line to show, or None where none is known."""


@dataclass(frozen=True)
class Place:
    """A plain module path and source line, where no richer object stands for the place."""

    module_path: str = ""
    location: Location | None = None


@dataclass(frozen=True)
class Finding:
    """One fault, as a rule yields it. The engine adds the rule's code, name and default level.

    Attributes:
        at: the place; `.module_path` and `.location` are read from it. None means the training setup as a whole.
        message: one or two sentences with the measured number; starts in lower case, names what is at the place.
        evidence: numbers with their thresholds, JSON-serializable.
        fix: the concrete change of code.
        level: None for the rule's own level; a rule may lower it when the evidence is weak, and raise it only where
            the catalogue names the graver case.
        modules: further module paths the fault shows at (the whole chain, every affected layer): findings of explained
            rules at these modules become symptoms of this one.
        confidence: "high", "medium" or "low".
    """

    at: Located | None
    message: str
    fix: str
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    level: Level | None = None
    modules: tuple[str, ...] = ()
    confidence: str = "high"


class Skip(Exception):
    """Raised by a rule, or by evidence that it asks for, when it cannot be evaluated: reported as skipped with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutOfBudget(Skip):
    """A `Skip` for want of time: what the budget cut is reported once for the whole check."""
