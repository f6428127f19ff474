"""The command line. Importing it imports click and nothing else: every command imports what it needs when it runs."""

from __future__ import annotations

import click

from nnlint._version import __version__
from nnlint.cli.baseline import baseline
from nnlint.cli.check import check
from nnlint.cli.config import config
from nnlint.cli.diff import diff
from nnlint.cli.errors import Commands
from nnlint.cli.explain import explain
from nnlint.cli.init import init
from nnlint.cli.lr import lr
from nnlint.cli.rules import rules
from nnlint.cli.run import run


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nnlint")
def main() -> None:
    """Find what is wrong with a PyTorch model before it is trained."""


main.add_command(check)
main.add_command(run)
main.add_command(lr)
main.add_command(rules)
main.add_command(explain)
main.add_command(baseline)
main.add_command(diff)
main.add_command(config)
main.add_command(init)
