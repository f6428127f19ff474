"""The source around a finding, with a line of carets under the code it is about."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Callable

import click

from nnlint.report import SourceLocation

#: `return`, an assignment's targets, or what opens a block: the expression after it is what a finding is about.
_LEAD = re.compile(r"(?:return\s+|yield\s+|[\w.,\[\]\s*]+?\s*(?::[^=]+)?(?:[-+*/@]?=)(?!=)\s*)")
_COMMENT = re.compile(r"\s+#[^'\"]*$")


def excerpt(location: SourceLocation, paint: Callable[[str], str]) -> list[str]:
    """The line, its neighbours of the same block and the carets; empty where the source cannot be read."""
    lines = source_lines(location)
    line = lines.get(location.line)
    if line is None or not line.strip():
        return []
    digits = len(str(max(lines)))
    shown = []
    for number, text in sorted(lines.items()):
        if text.strip():
            shown.append(f"    {number:>{digits + 2}} | {text}")
        if number == location.line:
            start, length = span(text)
            shown.append(f"    {'':>{digits + 2}} | {' ' * start}{paint('^' * length)}")
    return shown


def span(line: str) -> tuple[int, int]:
    """Start and length of the expression in a line: without indentation, `return`, assignment and comment."""
    code = _COMMENT.sub("", line).rstrip()
    start = len(code) - len(code.lstrip())
    lead = _LEAD.match(code, start)
    if lead is not None and lead.end() < len(code) and _balanced(lead[0]):
        start = lead.end()
    return start, max(len(code) - start, 1)


def _balanced(lead: str) -> bool:
    return lead.count("[") == lead.count("]")


def source_lines(location: SourceLocation) -> dict[int, str]:
    """The line and one before and after it, without tabs; only the reported text where the file is gone."""
    try:
        with tokenize.open(location.file) as stream:
            source = stream.read().splitlines()
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
        source = []
    if not 0 < location.line <= len(source):
        return {} if location.text is None else {location.line: _plain(location.text)}
    first, last = max(location.line - 1, 1), min(location.line + 1, len(source))
    return {number: _plain(source[number - 1]) for number in range(first, last + 1)}


def _plain(text: str) -> str:
    """The text as a terminal can show it: tabs as spaces, no control characters."""
    expanded = click.unstyle(text.rstrip().expandtabs(4))
    return "".join(character if character.isprintable() else "?" for character in expanded)
