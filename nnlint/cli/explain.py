"""`nnlint explain`: the documentation page of a rule, of a family, or of what a word finds."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from nnlint.cli import completion

if TYPE_CHECKING:
    from nnlint.cards import RuleCard


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="RULE", shell_complete=completion.rule_words)
@click.option(
    "--color/--no-color", default=None, help="Default: color on a terminal; NO_COLOR and FORCE_COLOR override."
)
def explain(words: tuple[str, ...], color: bool | None) -> None:  # noqa: FBT001 - click passes the flag
    """Explain RULE: what it finds, why it hurts, and what to write instead.

    RULE is a code or a name (LOS001, softmax-before-cross-entropy). The letters of a family (LOS) list the family; any other
    words list the rules whose name or page holds them.
    """
    from nnlint.cli.catalogue import load_cards
    from nnlint.cli.errors import Refusal
    from nnlint.cli.output import wants_color
    from nnlint.cli.rules import table, terminal_width

    try:
        found = _found(" ".join(words), load_cards())
    except KeyError as error:
        raise Refusal(str(error.args[0])) from error
    if len(found) == 1:
        click.echo("\n".join(_page(found[0])), color=wants_color(color))
    else:
        click.echo(table(found, terminal_width()))


def _found(wanted: str, known: tuple[RuleCard, ...]) -> list[RuleCard]:
    """The rule of this code or name, else the family, else the rules that the words find: in names before pages.

    Raises:
        KeyError: nothing is found; the message holds the nearest names.
    """
    from nnlint.cards import find, matching

    exact = [rule for rule in known if wanted.upper() == rule.code or wanted.lower() == rule.name]
    family = [rule for rule in known if rule.code[:3] == wanted.upper()]
    if exact or family:
        return exact or family
    is_misspelt = "-" in wanted or re.fullmatch(r"[A-Za-z]{3}\d+", wanted)
    found = [] if is_misspelt else matching(wanted, known, pages=False) or matching(wanted, known)
    if not found and not is_misspelt:
        near = difflib.get_close_matches(wanted.lower(), {word for rule in known for word in rule.name.split("-")}, n=3)
        if near:
            raise KeyError(f"no rule speaks of {wanted!r}; did you mean {', '.join(near)}?")
    return found or [find(wanted, known)]


def _page(rule: RuleCard) -> Iterator[str]:
    yield f"{click.style(rule.code, bold=True)} {click.style(rule.name, bold=True)}"
    yield rule.summary
    yield ""
    yield f"level {rule.level}; needs {', '.join(rule.needs) or 'nothing'}; since {rule.since}"
    if rule.explains:
        yield f"lists findings of {', '.join(rule.explains)} at the same place as its symptoms"
    for line in rule.doc.splitlines()[1:]:
        yield click.style(line.removeprefix("## "), bold=True) if line.startswith("## ") else line.rstrip()
    if rule.options:
        yield ""
        yield from _options(rule)


def _options(rule: RuleCard) -> Iterator[str]:
    """The thresholds with their defaults, as they are written in pyproject.toml."""
    yield click.style("Options", bold=True)
    yield f"    [tool.nnlint.rules.{rule.code}]"
    for option in rule.options:
        meaning = f"  # {option.meaning}" if option.meaning else ""
        yield f"    {option.name} = {option.default}{meaning}"
