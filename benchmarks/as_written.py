"""The stricter figure of the sweep from the same check: what the rules say if the user had written the model, not a library.

What is measured does not depend on whose code a model is; only the judgement of a few rules does. So each rule judges the same
evidence twice, and one check gives both figures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from nnlint.capture.graph import Graph
from nnlint.finding import Finding, Level, Skip
from nnlint.registry import Registry
from nnlint.rule import Rule
from nnlint.triage import Raised, triage


@dataclass
class AsWritten:
    """Collects what the rules of `registry` find where nothing is excused for being a library's.

    Attributes:
        known: the installed rules.
        raised: the findings, before triage.
    """

    known: Registry
    raised: list[Raised] = field(default_factory=list)

    @property
    def registry(self) -> Registry:
        """The same rules; each judges its evidence a second time after the first."""
        return replace(self.known, rules=tuple(self._twice(rule) for rule in self.known.rules))

    @property
    def findings(self) -> list[dict[str, Any]]:
        """One finding a cause, with the keys that the sweep keeps."""
        return [
            {
                "code": item.rule.code,
                "level": item.level.value,
                "module": item.module,
                "message": item.finding.message,
                "confidence": item.finding.confidence,
            }
            for item in triage(self.raised)
        ]

    def _twice(self, rule: Rule) -> Rule:
        def check(**evidence: Any) -> Iterator[Finding]:
            try:
                yield from rule.check(**evidence)
            finally:
                with _strict(evidence), contextlib.suppress(Skip):
                    for finding in rule.check(**evidence):
                        level = Level.INFO if rule.preview else finding.level or rule.level
                        self.raised.append(Raised(rule, finding, level))

        return replace(rule, check=check)


@contextlib.contextmanager
def _strict(evidence: dict[str, Any]) -> Iterator[None]:
    """No library is known while this lasts."""
    found = [part for value in evidence.values() for part in (value, getattr(value, "graph", None))]
    graphs = {id(part): (part, part.facts) for part in found if isinstance(part, Graph)}.values()
    for graph, facts in graphs:
        graph.facts = replace(facts, library=False, libraries=frozenset())
    try:
        yield
    finally:
        for graph, facts in graphs:
            graph.facts = facts
