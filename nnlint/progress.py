"""The report so far, for whoever follows a check, so that a killed one keeps what it had."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from nnlint.report import TargetReport

Progress: TypeAlias = "Callable[[TargetReport], None]"

_STEP_INTERVAL = 0.25  # seconds between two reports of a longer probe
#: A report that takes longer to make (seconds) is made again only after this many times as long.
_COSTLY, _PAUSE = 0.02, 10


@dataclass
class Follower:
    """Who follows the check.

    Attributes:
        listen: is given the reports; None where nobody asked.
        report: makes one.
    """

    listen: Progress | None
    report: Callable[[], TargetReport]
    _told: float = 0.0
    _cost: float = 0.0
    _stepped: float = 0.0

    def measured(self) -> None:
        """Something was measured: tell of it, for a large model not each time."""
        start = time.perf_counter()
        if self.listen is not None and (self._cost < _COSTLY or start - self._told > _PAUSE * self._cost):
            self.listen(self.report())
            self._told = time.perf_counter()
            self._cost = self._told - start

    def stepped(self, probe: str, done: int, planned: int) -> None:
        """Tell how far a longer probe is, under "progress", and not more often than a person can read."""
        now = time.monotonic()
        if self.listen is not None and now - self._stepped > _STEP_INTERVAL:
            self._stepped = now
            partial = self.report()
            partial.measurements["progress"] = {"probe": probe, "done": done, "planned": planned}
            self.listen(partial)

    def ended(self, report: TargetReport) -> None:
        """Give the whole report."""
        if self.listen is not None:
            self.listen(report)
