"""What the shell completes: codes and names of rules, targets of the configuration. Nothing here imports torch.

A completion must never print an error or raise: what cannot be had completes to nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from nnlint.cards import RuleCard


def rule_words(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Codes, names and families, for `explain`."""
    return _starting(_rules(), incomplete)


def rule_lists(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The last part of a comma separated list of rules."""
    done, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{done}{comma}{item.value}", help=item.help) for item in _starting(_rules(), last)]


def families(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The families of rules."""
    return _starting((CompletionItem(family) for family in _families(_cards())), incomplete)


def probes(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the longer probes."""
    from nnlint.evidence import PROBES

    return _starting((CompletionItem(name) for name in PROBES), incomplete)


def targets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The targets of the configuration, else files.

    Bash takes a colon for the end of a word: what stands before it is another argument then, and only the rest is asked for.
    """
    given = context.params.get(str(parameter.name)) or ()
    words = [given] if isinstance(given, str) else list(given)
    before = ""
    if incomplete == ":" and words:
        before, incomplete = f"{words[-1]}:", ""
    elif words and words[-1] == ":":
        before = f"{words[-2]}:" if len(words) > 1 else ""
    known: tuple[str, ...] = ()
    with contextlib.suppress(Exception):
        from nnlint.config import load

        file = context.params.get("config")
        known = load(Path(file) if file else None).targets
    found = [CompletionItem(name[len(before) :]) for name in known if name.startswith(before + incomplete)]
    return found or ([] if before else [CompletionItem(incomplete, type="file")])


def _starting(items: Iterable[CompletionItem], incomplete: str) -> list[CompletionItem]:
    """The items that begin so; codes are found in small letters, too."""
    return [item for item in items if item.value.startswith((incomplete, incomplete.upper()))]


def _rules() -> list[CompletionItem]:
    cards = _cards()
    codes = [CompletionItem(card.code, help=card.name) for card in cards]
    names = [CompletionItem(card.name, help=card.code) for card in cards]
    return [*(CompletionItem(family, help="the family") for family in _families(cards)), *codes, *names]


def _families(cards: Iterable[RuleCard]) -> list[str]:
    return sorted({card.code[:3] for card in cards})


def _cards() -> tuple[RuleCard, ...]:
    with contextlib.suppress(Exception):
        from nnlint.cli.catalogue import load_cards

        return load_cards()
    return ()
