"""`nnlint explain`: the documentation page of a rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nnlint.options import Options
from nnlint.rule import Rule


@click.command()
@click.argument("rule")
@click.option("--color/--no-color", default=None, help="Default: as the terminal, NO_COLOR and FORCE_COLOR say.")
def explain(rule: str, color: bool | None) -> None:  # noqa: FBT001 - click passes the flag
    """Explain RULE, a code or a name: what it finds, why it hurts, and what to write instead."""
    from nnlint.cli.catalogue import load_rules
    from nnlint.cli.errors import Refusal
    from nnlint.cli.output import wants_color

    try:
        found = load_rules().find(rule)
    except KeyError as error:
        raise Refusal(str(error.args[0])) from error
    click.echo("\n".join(_page(found)), color=wants_color(color))


def _page(rule: Rule) -> Iterator[str]:
    yield f"{click.style(rule.code, bold=True)} {click.style(rule.name, bold=True)}"
    yield rule.summary
    yield ""
    yield f"level {rule.level.value}; needs {', '.join(rule.needs) or 'nothing'}; since {rule.since}"
    if rule.explains:
        yield f"shows findings of {', '.join(rule.explains)} at the same place as its symptoms"
    for line in rule.doc.splitlines()[1:]:
        yield click.style(line.removeprefix("## "), bold=True) if line.startswith("## ") else line.rstrip()
    if rule.options is not None:
        yield ""
        yield from _options(rule.code, rule.options)


def _options(code: str, options: type[Options]) -> Iterator[str]:
    """The thresholds with their defaults, as they are written in pyproject.toml."""
    import json

    yield click.style("Options", bold=True)
    yield f"    [tool.nnlint.rules.{code}]"
    meanings = options.meanings()
    for name, field in options.model_fields.items():
        default = json.dumps(field.default, default=str) if not field.is_required() else "(required)"
        meaning = f"  # {meanings[name]}" if meanings[name] else ""
        yield f"    {name} = {default}{meaning}"
