"""Finds the rules: every module of every package behind the entry point group `nnlint.rules`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FunctionType, ModuleType

from nnlint.cards import unknown_rule
from nnlint.rule import GROUP, Rule, RuleError


@dataclass(frozen=True)
class Registry:
    """All rules, by code, in the order of their codes."""

    rules: tuple[Rule, ...]

    def find(self, wanted: str) -> Rule:
        """The rule with this code or name.

        Raises:
            KeyError: no such rule; the message holds the nearest names.
        """
        for candidate in self.rules:
            if wanted.upper() == candidate.code or wanted.lower() == candidate.name:
                return candidate
        raise KeyError(self._unknown(wanted))

    def matching(self, selectors: Iterable[str]) -> set[str]:
        """Codes of the rules that any selector names: a code, a name, or a prefix of codes (`LOS`, `ALL`).

        Raises:
            KeyError: a selector matches no rule.
        """
        codes: set[str] = set()
        for selector in selectors:
            found = {
                rule.code
                for rule in self.rules
                if selector.upper() == "ALL" or rule.code.startswith(selector.upper()) or rule.name == selector.lower()
            }
            if not found:
                raise KeyError(self._unknown(selector))
            codes |= found
        return codes

    @property
    def charts(self) -> dict[str, tuple[str, ...]]:
        """By code: the tables and charts of a report that show what a rule measures."""
        return {rule.code: rule.charts for rule in self.rules}

    def _unknown(self, wanted: str) -> str:
        return unknown_rule(wanted, (name for rule in self.rules for name in (rule.code, rule.name)))


def load() -> Registry:
    """Import every rule pack.

    Raises:
        RuleError: a pack cannot be imported, a rule is defined wrongly, or two rules share a code or a name. A pack that
            does not load must not look like a clean check.
    """
    found: dict[str, Rule] = {}
    names: dict[str, Rule] = {}
    for pack in _packs(_installed()):
        try:
            package = pack.load()
        except Exception as error:
            raise RuleError(f"rule pack {pack.name!r} ({pack.value}) cannot be imported: {error}") from error
        for rule in _rules_in(package):
            for taken in (found.get(rule.code), names.get(rule.name)):
                if taken is not None and taken.check is not rule.check:
                    raise RuleError(f"{rule.file}: {rule.code} {rule.name} is already defined in {taken.file}")
            found[rule.code] = names[rule.name] = rule
    return Registry(tuple(found[code] for code in sorted(found)))


def _installed() -> tuple[tuple[str, int], ...]:
    """What tells that a package was installed or removed: the folders of the import path, and when each changed last."""
    found = []
    for entry in sys.path:
        with suppress(OSError, ValueError):
            found.append((entry, Path(entry).stat().st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=1)  # reading what some hundred packages declare takes as long as a training step of a small net
def _packs(installed: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """The entry points of the packs, by name; `installed` tells whether they have to be looked up again."""
    del installed
    return tuple(sorted(entry_points(group=GROUP), key=lambda entry: entry.name))


@cache  # looking for a pack's modules again takes a sixth of the check of a small net
def _rules_in(package: ModuleType) -> tuple[Rule, ...]:
    found = (getattr(value, "__nnlint_rule__", None) for value in _functions(package))
    rules = tuple(made for made in found if isinstance(made, Rule))
    causes, charts = _said(package, "causes"), _said(package, "charts")
    _refuse_unknown(package, "causes", causes, {rule.code for rule in rules})
    selectors = [selector for chosen in charts.values() for selector in chosen]
    _refuse_unknown(package, "charts", selectors, {name for rule in rules for name in (rule.code, rule.family)})
    return tuple(
        replace(
            rule,
            explains=tuple(dict.fromkeys((*rule.explains, *causes.get(rule.code, ())))),
            charts=tuple(chart for chart, chosen in charts.items() if not {rule.code, rule.family}.isdisjoint(chosen)),
        )
        for rule in rules
    )


def _said(package: ModuleType, about: str) -> Mapping[str, Iterable[str]]:
    """What a module of the pack, if it has one, says of its rules.

    `causes.CAUSES` has codes of rules, each with the codes that it explains; `charts.CHARTS` has charts, each with the codes and
    families of the rules whose measurements it shows.
    """
    module = sys.modules.get(f"{package.__name__}.{about}")  # imported with the others
    found: Mapping[str, Iterable[str]] = getattr(module, about.upper(), {})
    return found


def _refuse_unknown(package: ModuleType, about: str, said: Iterable[str], known: set[str]) -> None:
    if unknown := set(said) - known:
        raise RuleError(f"{package.__name__}.{about}: {', '.join(sorted(unknown))} is not a rule of this pack")


def _functions(package: ModuleType) -> Iterator[FunctionType]:
    for module in _modules(package):
        yield from (value for value in vars(module).values() if isinstance(value, FunctionType))


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for info in pkgutil.walk_packages(getattr(package, "__path__", []), prefix=f"{package.__name__}."):
        try:
            yield importlib.import_module(info.name)
        except RuleError:
            raise
        except Exception as error:
            raise RuleError(f"rule module {info.name} cannot be imported: {error!r}") from error
