"""`nnlint rules`: the list of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nnlint.cards import RuleCard


@click.command()
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", help="Default: text.")
def rules(style: str) -> None:
    """List the rules."""
    import json

    from nnlint.cli.catalogue import load_cards

    known = load_cards()
    if style == "json":
        click.echo(json.dumps([_described(rule) for rule in known], indent=2, ensure_ascii=False))
        return
    from tabulate import tabulate

    rows = [[rule.code, rule.name, rule.level, " ".join(rule.needs), rule.summary] for rule in known]
    headers = ["code", "name", "level", "needs", "summary"]
    click.echo(tabulate(rows, headers, tablefmt="plain", disable_numparse=True))


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
