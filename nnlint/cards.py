"""What is known of each rule without importing it: `nnlint rules` and `explain` answer in a tenth of a second.

A rule pack may ship `rules_index.json` beside its modules. It counts only while its digest is that of the pack's sources: an index that
is behind is passed over, and the pack is imported.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnlint.rule import GROUP

if TYPE_CHECKING:
    from nnlint.rule import Rule

INDEX = "rules_index.json"


@dataclass(frozen=True)
class OptionCard:
    """One threshold of a rule: its default as it is written in TOML, and what it means."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class RuleCard:
    """A rule as the documentation shows it."""

    code: str
    name: str
    level: str
    since: str
    needs: tuple[str, ...]
    explains: tuple[str, ...]
    doc: str
    options: tuple[OptionCard, ...] = ()

    @property
    def summary(self) -> str:
        """First line of the documentation page."""
        return self.doc.splitlines()[0]


def indexed_cards() -> tuple[RuleCard, ...] | None:
    """Every installed rule, in the order of the codes; None where a pack has no index in date and must be imported."""
    found: dict[str, RuleCard] = {}
    for pack in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        indexed = _indexed(find_spec(pack.module.partition(".")[0]))
        if indexed is None:
            return None
        found |= {card.code: card for card in indexed}
    return tuple(found[code] for code in sorted(found))


def find(wanted: str, known: Iterable[RuleCard]) -> RuleCard:
    """The rule with this code or name.

    Raises:
        KeyError: no such rule; the message holds the nearest names.
    """
    listed = list(known)
    for card in listed:
        if wanted.upper() == card.code or wanted.lower() == card.name:
            return card
    raise KeyError(unknown_rule(wanted, (name for card in listed for name in (card.code, card.name))))


def matching(words: str, known: Iterable[RuleCard], *, pages: bool = True) -> list[RuleCard]:
    """The rules whose code or name, or with `pages` whose page, holds all the words; all rules for no words."""
    wanted = words.lower().replace("-", " ").split()

    def text(card: RuleCard) -> str:
        return f"{card.code} {card.name.replace('-', ' ')} {card.doc if pages else ''}".lower()

    return [card for card in known if all(word in text(card) for word in wanted)]


def unknown_rule(wanted: str, names: Iterable[str]) -> str:
    """The message for an unknown rule, with the nearest names."""
    known = list(names)
    near = difflib.get_close_matches(wanted.lower(), known, n=3) or difflib.get_close_matches(
        wanted.upper(), known, n=3
    )
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return f"unknown rule {wanted!r}{hint}"


def card_of(rule: Rule) -> RuleCard:
    """The card of a registered rule."""
    return RuleCard(
        code=rule.code,
        name=rule.name,
        level=rule.level.value,
        since=rule.since,
        needs=rule.needs,
        explains=rule.explains,
        doc=rule.doc,
        options=tuple(_options(rule)),
    )


def _options(rule: Rule) -> Iterator[OptionCard]:
    if rule.options is None:
        return
    meanings = rule.options.meanings()
    for name, field in rule.options.model_fields.items():
        default = "(required)" if field.is_required() else json.dumps(field.default, default=str)
        yield OptionCard(name, default, meanings[name])


def index_text(package: Path, rules: Iterable[Rule]) -> str:
    """The index of a pack, as JSON."""
    listed = [asdict(card_of(rule)) for rule in rules]
    return json.dumps({"digest": digest(package), "rules": listed}, indent=1, ensure_ascii=False) + "\n"


def digest(package: Path) -> str:
    """A hash over the sources of a pack, independent of line ends."""
    total = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        total.update(file.relative_to(package).as_posix().encode())
        total.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return total.hexdigest()


def _indexed(spec: ModuleSpec | None) -> list[RuleCard] | None:
    """The cards of a pack's index, or None where it has none in date."""
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(next(iter(spec.submodule_search_locations)))
    try:
        index: dict[str, Any] = json.loads((package / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if index.get("digest") != digest(package):
        return None
    return [
        RuleCard(
            **{**card, "needs": tuple(card["needs"]), "explains": tuple(card["explains"])}
            | {"options": tuple(OptionCard(**option) for option in card["options"])}
        )
        for card in index["rules"]
    ]
