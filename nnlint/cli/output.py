"""Where reports go: the console in one format, and any number of files."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnlint.cli.errors import Refusal
from nnlint.reporters import REPORTERS

if TYPE_CHECKING:
    from nnlint.report import Report
    from nnlint.reporters.options import ReportOptions

_SUFFIXES = {
    ".html": "html",
    ".json": "json",
    ".jsonl": "jsonl",
    ".md": "markdown",
    ".sarif": "sarif",
    ".txt": "text",
    ".xml": "junit",
}


#: Formats whose paths a CI system looks up in its checkout, wherever in it the check was started.
_READ_BY_CI = ("github", "sarif", "gitlab", "junit")
#: Variables that hold the folder of the checkout: of GitHub and of GitLab.
_CHECKOUTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")


@dataclass(frozen=True)
class Destination:
    """A file and its format."""

    style: str
    path: Path


def destination(text: str, default: str) -> Destination:
    """Read `format:path` or a path alone, whose suffix decides, and else the format of the console.

    Raises:
        Refusal: the path is empty, a folder or in none, or its suffix stands for no format: found out before an hour of
            measuring, not after.
    """
    style, colon, path = text.partition(":")
    if not colon or style not in REPORTERS:
        path, suffix = text, Path(text).suffix.lower()
        style = _SUFFIXES.get(suffix, default)
        if default == "text" and suffix not in ("", *_SUFFIXES):
            raise Refusal(f"--output {text!r}: no format has the suffix {suffix}; name the format, as in json:{text}")
    if not path:
        raise Refusal(f"--output {text!r} names no file")
    require(style)
    if Path(path).is_dir():
        raise Refusal(f"--output {text!r} is a folder: name a file in it")
    if not Path(path).absolute().parent.is_dir():
        raise Refusal(f"--output {text!r}: the folder {Path(path).parent} does not exist")
    return Destination(style, Path(path))


def require(style: str) -> None:
    """Refuse a format whose library is missing before an hour of measuring, not after.

    Raises:
        Refusal: the extra is not installed.
    """
    if style == "html" and find_spec("jinja2") is None:
        raise Refusal("the HTML report needs Jinja2: pip install 'nnlint[html]'")


def is_drawn(style: str, files: Sequence[Destination]) -> bool:
    """Whether any of the reports is a page with pictures, which need details that are not measured otherwise."""
    return "html" in (style, *(file.style for file in files))


def wants_color(flag: bool | None) -> bool:  # noqa: FBT001 - three states: said yes, said no, said nothing
    """Whether standard output is styled: the flag, then NO_COLOR, then FORCE_COLOR, then the terminal decides."""
    if flag is not None:
        return flag
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty()


def write(
    report: Report, console: str, files: Sequence[Destination], options: ReportOptions, *, to_stderr: bool = False
) -> None:
    """Render the report for the console (standard error on request) and for every file.

    Raises:
        Refusal: a file cannot be written.
    """
    from dataclasses import replace

    from nnlint.reporters import render

    plain = replace(options, color=False)
    for file in files:
        try:
            file.path.write_text(render(file.style, report, _rooted(plain, file.style)), encoding="utf-8")
        except OSError as error:
            raise Refusal(f"{file.path} cannot be written: {error.strerror}") from error
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a console that lacks a letter of the user's source
    shown = render(console, report, _rooted(options, console))
    click.echo(shown, nl=False, color=options.color, err=to_stderr)


def _rooted(options: ReportOptions, style: str) -> ReportOptions:
    """The options with paths from the root of the checkout, where a CI system reads them that tells where it is."""
    from dataclasses import replace

    for name in _CHECKOUTS if style in _READ_BY_CI else ():
        told = os.environ.get(name)
        if told and options.root.is_relative_to(Path(told).resolve()):
            return replace(options, root=Path(told).resolve())
    return options
