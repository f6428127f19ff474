"""`nnlint explain`: the documentation page of a rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nnlint.cards import RuleCard


@click.command()
@click.argument("rule")
@click.option("--color/--no-color", default=None, help="Default: as the terminal, NO_COLOR and FORCE_COLOR say.")
def explain(rule: str, color: bool | None) -> None:  # noqa: FBT001 - click passes the flag
    """Explain RULE, a code or a name: what it finds, why it hurts, and what to write instead."""
    from nnlint.cards import find
    from nnlint.cli.catalogue import load_cards
    from nnlint.cli.errors import Refusal
    from nnlint.cli.output import wants_color

    try:
        found = find(rule, load_cards())
    except KeyError as error:
        raise Refusal(str(error.args[0])) from error
    click.echo("\n".join(_page(found)), color=wants_color(color))


def _page(rule: RuleCard) -> Iterator[str]:
    yield f"{click.style(rule.code, bold=True)} {click.style(rule.name, bold=True)}"
    yield rule.summary
    yield ""
    yield f"level {rule.level}; needs {', '.join(rule.needs) or 'nothing'}; since {rule.since}"
    if rule.explains:
        yield f"shows findings of {', '.join(rule.explains)} at the same place as its symptoms"
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
