"""Exit statuses and the one way a command refuses to run."""

from __future__ import annotations

import os
import sys

import click

#: The usual status of a program that was interrupted from the keyboard.
INTERRUPTED = 130


class Refusal(click.ClickException):
    """Usage, configuration or rule packs are wrong: one message on standard error, exit status 2."""

    exit_code = 2


def require_streams() -> None:
    """Make sure that the report can be printed, and that no file that is opened later takes the place of a closed stream.

    Raises:
        Refusal: standard output is closed: a report that nobody can read is no check.
    """
    for descriptor, stream in ((0, sys.stdin), (1, sys.stdout), (2, sys.stderr)):
        if stream is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing == descriptor:
                os.set_inheritable(descriptor, True)  # noqa: FBT003 - the function has it so
            else:
                os.dup2(nothing, descriptor)
                os.close(nothing)
    lost, sys.stderr = sys.stdout is None, sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if lost:
        raise Refusal("standard output is closed: the report cannot be printed")
