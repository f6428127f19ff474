"""What several processes observed, brought together by files: no collective of the script's is disturbed, a dead rank keeps nobody.

Each rank writes its log into a folder that the ranks of one launcher on one machine share; rank 0 waits for the others.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnlint.observation.log import Observation, Ranks

#: Seconds that rank 0 waits for the others after it has ended itself.
PATIENCE = 60.0
_POLL = 0.05


@dataclass(frozen=True)
class Exchange:
    """The place of this process among those of its launcher.

    Attributes:
        rank: of this process, among all.
        local: ranks that run on this machine.
        world: number of processes.
        folder: where the logs are exchanged.
    """

    rank: int
    local: tuple[int, ...]
    world: int
    folder: Path
    patience: float = PATIENCE

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Exchange | None:
        """What torchrun and its like put into the environment; None for a single process."""
        world = int(environment.get("WORLD_SIZE", "1"))
        if world < 2 or "RANK" not in environment:
            return None
        rank, local_rank = int(environment["RANK"]), int(environment.get("LOCAL_RANK", environment["RANK"]))
        count = int(environment.get("LOCAL_WORLD_SIZE", str(world)))
        first = rank - local_rank
        key = "-".join(
            [environment.get("TORCHELASTIC_RUN_ID", "none"), environment.get("MASTER_PORT", "0"), str(os.getppid())]
        )
        folder = Path(
            tempfile.gettempdir(), f"nnlint-{os.getuid() if hasattr(os, 'getuid') else 0}-{abs(hash_of(key))}"
        )
        return cls(rank, tuple(range(first, first + count)), world, folder)

    @property
    def reports(self) -> bool:
        """Whether this rank reports for all."""
        return self.rank == 0

    def gather(self, observation: Observation) -> Ranks | None:
        """Hand over this rank's log; on rank 0, those of all ranks of this machine, and which are missing."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if not self.reports:
            self._write(observation)
            return None
        found = {0: observation}
        deadline = time.monotonic() + self.patience
        waiting = [rank for rank in self.local if rank != 0]
        while waiting and time.monotonic() < deadline:
            for rank in list(waiting):
                if self._file(rank).exists():
                    found[rank] = pickle.loads(self._file(rank).read_bytes())  # noqa: S301 our own ranks, in a folder of the user's
                    self._file(rank).unlink()
                    waiting.remove(rank)
            time.sleep(_POLL)
        lost = tuple(rank for rank in range(self.world) if rank not in found)
        if not lost:
            self.folder.rmdir()
        events = {rank: item.events for rank, item in sorted(found.items())}
        return Ranks(events, {rank: item.loaders for rank, item in sorted(found.items())}, lost)

    def _write(self, observation: Observation) -> None:
        """Under another name first: the reader sees whole files."""
        part = self.folder / f"{self.rank}.part"
        part.write_bytes(pickle.dumps(observation))
        part.rename(self._file(self.rank))

    def _file(self, rank: int) -> Path:
        return self.folder / f"{rank}.log"


def hash_of(text: str) -> int:
    """The same in every process, unlike Python's own hash."""
    import zlib

    return zlib.crc32(text.encode())
