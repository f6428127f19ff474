"""How far the longer probes are: a bar on standard error, for a person at a terminal and never in a machine format."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

OnStep = Callable[[Mapping[str, Any]], None]


class _Bars:
    """One bar at a time: a new one for each probe."""

    def __init__(self) -> None:
        self._name = ""
        self._bar: Any = None

    def show(self, step: Mapping[str, Any]) -> None:
        """Move the bar of the step's probe."""
        if step["probe"] != self._name:
            self.close()
            self._name = step["probe"]
            self._bar = click.progressbar(
                length=step["planned"], label=self._name, file=sys.stderr, show_eta=False, show_pos=True
            )
            self._bar.__enter__()
        self._bar.length = max(step["planned"], step["done"])
        self._bar.update(step["done"] - self._bar.pos)

    def close(self) -> None:
        """End the bar that is shown; a probe may well need fewer steps than planned."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


@contextmanager
def progress_bar(style: str) -> Iterator[OnStep | None]:
    """What to call with each step, or None where nobody would see it."""
    if style != "text" or not sys.stderr.isatty():
        yield None
        return
    bars = _Bars()
    try:
        yield bars.show
    finally:
        bars.close()
