"""Loads the rules for a command, and judges settings against them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from nnlint.cli.errors import Refusal

if TYPE_CHECKING:
    from nnlint.cards import RuleCard
    from nnlint.config import CheckSettings
    from nnlint.registry import Registry


_NONE = "no rules are installed: the entry point group nnlint.rules is empty; install nnlint with pip"


def load_cards() -> tuple[RuleCard, ...]:
    """What is known of the installed rules, without importing them where their pack has an index.

    Raises:
        Refusal: a rule pack does not load, or there is none.
    """
    from nnlint.cards import card_of, indexed_cards

    found = indexed_cards()
    if found is None:
        found = tuple(card_of(rule) for rule in load_rules().rules)
    if not found:
        raise Refusal(_NONE)
    return found


def load_rules() -> Registry:
    """The installed rules.

    Raises:
        Refusal: a rule pack does not load, or there is none: a check without rules must not look clean.
    """
    from nnlint import registry
    from nnlint.rule import RuleError

    try:
        found = registry.load()
    except RuleError as error:
        raise Refusal(str(error)) from error
    if not found.rules:
        raise Refusal(_NONE)
    return found


def validate(settings: CheckSettings, registry: Registry) -> None:
    """Judge selection and rule options before anything of the user's is run.

    Raises:
        Refusal: `select` names an unknown rule, an option or level is wrong, or no rule is left to run.
    """
    from nnlint.finding import Level
    from nnlint.selection import SettingsError, selected_rules

    for rule, options in settings.rules.items():
        levels = [level.value for level in Level]
        if options.get("level", levels[0]) not in levels:
            raise Refusal(f"rules.{rule}: level {options['level']!r} is not one of {', '.join(levels)}")
    try:
        chosen = selected_rules(registry, settings)
    except SettingsError as error:
        raise Refusal(str(error)) from error
    if not chosen:
        raise Refusal("the selection leaves no rule to run")


def unknown_rules(mentioned: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What to say about unknown rules in settings that leave rules out: a warning, since another version may know them.

    Args:
        mentioned: the key of each setting, and the code, prefix or name that it holds.
    """
    from nnlint.cards import unknown_rule

    each = dict.fromkeys(mentioned)
    known = load_cards() if each else ()
    for key, selector in each:
        named = selector.upper() == "ALL" or any(
            card.code.startswith(selector.upper()) or card.name == selector.lower() for card in known
        )
        if not named:
            yield f"{key}: {unknown_rule(selector, (name for card in known for name in (card.code, card.name)))}"
