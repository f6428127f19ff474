"""`nnlint rules`: the list of rules."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from nnlint.cli import completion

if TYPE_CHECKING:
    from nnlint.cards import RuleCard


#: Columns that summaries have at least, however narrow the terminal is.
_NARROWEST = 24


@click.command()
@click.option(
    "--family", metavar="LOS", shell_complete=completion.families, help="Only rules whose code starts with this."
)
@click.option("--level", type=click.Choice(["error", "warning", "info"]), help="Only rules of this level.")
@click.option("--search", metavar="WORDS", help="Only rules whose name or page contains all these words.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", help="Default: text.")
def rules(family: str | None, level: str | None, search: str | None, style: str) -> None:
    """List the rules."""
    import json

    from nnlint.cards import matching
    from nnlint.cli.catalogue import load_cards
    from nnlint.cli.errors import Refusal

    cards = load_cards()
    families = list(dict.fromkeys(rule.code[:3] for rule in cards))
    if family is not None and not any(rule.code.startswith(family.upper()) for rule in cards):
        raise Refusal(f"--family {family}: there are {', '.join(families)}")
    known = [
        rule
        for rule in matching(search or "", cards)
        if rule.code.startswith((family or "").upper()) and level in (None, rule.level)
    ]
    if not known:
        raise Refusal("no rule is as asked for; leave out one of --family, --level and --search")
    if style == "json":
        click.echo(json.dumps([_described(rule) for rule in known], indent=2, ensure_ascii=False))
        return
    click.echo(table(known, terminal_width()))


def terminal_width() -> int | None:
    """Columns of the terminal; None where standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(known: list[RuleCard], width: int | None) -> str:
    """The rules as a person reads them: summaries wrapped to the width of the terminal; a line for each rule where it is None."""
    from tabulate import tabulate

    rows = [[rule.code, rule.name, rule.level, rule.summary] for rule in known]
    headers = ["code", "name", "level", "summary"]
    taken = sum(max(len(row[place]) for row in (headers, *rows)) + 2 for place in range(3))
    room = max(width - taken, _NARROWEST) if width is not None else None
    return tabulate(rows, headers, tablefmt="plain", disable_numparse=True, maxcolwidths=[None, None, None, room])


def _described(rule: RuleCard) -> dict[str, object]:
    return {
        "code": rule.code,
        "name": rule.name,
        "level": rule.level,
        "needs": list(rule.needs),
        "since": rule.since,
        "summary": rule.summary,
        "doc": rule.doc,
    }
