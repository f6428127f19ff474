"""`nnlint rules`: the list of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nnlint.cli import completion

if TYPE_CHECKING:
    from nnlint.cards import RuleCard


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
    click.echo(table(known))


def table(known: list[RuleCard]) -> str:
    """The rules as a person reads them."""
    from tabulate import tabulate

    rows = [[rule.code, rule.name, rule.level, " ".join(rule.needs), rule.summary] for rule in known]
    headers = ["code", "name", "level", "needs", "summary"]
    return tabulate(rows, headers, tablefmt="plain", disable_numparse=True)


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
