"""Notes that a script starts processes of its own, which are not observed."""

from __future__ import annotations

from multiprocessing.process import BaseProcess
from typing import Any

from nnlint.finding import Location
from nnlint.observation.patches import Patches
from nnlint.observation.things import script_line

#: Processes of this package read data: the training is where their batches go.
_READERS = "torch.utils.data"


class Processes:
    """Watches `multiprocessing` and `torch.multiprocessing` (spawn, Process, Pool).

    Attributes:
        started: the script's line that started the first process that reads no data; None where there was none.
    """

    def __init__(self) -> None:
        self.started: Location | None = None
        self._patches = Patches()

    def install(self) -> None:
        """Begin."""
        self._patches.replace(BaseProcess, "start", self._start)

    def remove(self) -> None:
        """End; may be called again."""
        self._patches.undo()

    def _start(self, original: Any) -> Any:
        def start(process: Any) -> Any:
            target = getattr(process, "_target", None)
            if self.started is None and not str(getattr(target, "__module__", "")).startswith(_READERS):
                self.started = script_line()
            return original(process)

        return start
