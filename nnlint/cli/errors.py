"""Exit statuses and the one way a command refuses to run."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

#: The usual status of a program that was interrupted from the keyboard.
INTERRUPTED = 130


class Refusal(click.ClickException):
    """Usage, configuration or rule packs are wrong: one message on standard error, exit status 2."""

    exit_code = 2


class Commands(click.Group):
    """The commands of nnlint. What none of them foresaw ends with the exit status 2: 1 would say that there are findings."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            Refusal: it raised something that is no message for the user.
        """
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever read the report has read enough
            raise Refusal(_system_said(error)) from error
        except Exception as error:
            click.echo(traceback.format_exc(), err=True)
            message = f"nnlint itself failed: {type(error).__name__}: {error}: please report this with the trace"
            raise Refusal(message) from error


def _system_said(error: OSError) -> str:
    """Why the system refused something, and what is lost by it."""
    try:
        Path.cwd()
    except OSError:
        return "the working directory does not exist any more: change to another one"
    if error.errno != errno.ENOSPC:
        return f"the system refused: {error}"
    with suppress(OSError):  # nothing that waits to be printed may fail once more when the interpreter ends
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
    return f"the report cannot be written: {error.strerror}"


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
