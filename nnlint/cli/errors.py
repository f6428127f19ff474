"""Exit statuses and the one way a command refuses to run."""

from __future__ import annotations

import click

#: The usual status of a program that was interrupted from the keyboard.
INTERRUPTED = 130


class Refusal(click.ClickException):
    """Usage, configuration or rule packs are wrong: one message on standard error, exit status 2."""

    exit_code = 2
