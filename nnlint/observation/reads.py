"""Events of the data: batches that came out of a DataLoader, and the passes over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nnlint.observation.events import Event, Leaf, RandomState


@dataclass(frozen=True, kw_only=True)
class Read(Event):
    """A batch came out of a DataLoader.

    Attributes:
        loader: its name.
        pass_: 1 for the first `iter(loader)`.
        number: position of the batch in this pass, from 0.
        leaves: the tensors of the batch.
        samples: a hash of each sample of its first tensor (`EVL003`, `DST002`).
        others: a hash of the values of each sample of its other tensors.
        labels: the numbers of its last tensor where that is one integer for each sample.
        indices: what the sampler drew for this batch; empty where the loader has none.
        random_state: digests of the random generators before the batch was made.
    """

    verb: ClassVar[str] = "read"
    loader: str
    pass_: int = 1
    number: int = 0
    leaves: tuple[Leaf, ...] = ()
    samples: tuple[int, ...] = ()
    others: tuple[tuple[int, ...], ...] = ()
    labels: tuple[int, ...] = ()
    indices: tuple[int, ...] = ()
    random_state: RandomState = (0, 0, 0)

    @property
    def content(self) -> tuple[int, ...]:
        """Hashes of all tensors: two batches are the same when this is."""
        return tuple(leaf.content for leaf in self.leaves)


@dataclass(frozen=True, kw_only=True)
class Pass(Event):
    """A pass over a loader begins or ends.

    Attributes:
        loader: its name.
        number: 1 for the first.
        ends: whether it ends here.
        batches: how many were read, where it ends.
        folded: nnlint ended it early; the script saw an exhausted loader.
        by_script: the script's own loop reads it, no trainer's; known where it ends.
        sampler_epoch: the epoch that a DistributedSampler was set to.
        random_state: digests of the random generators.
    """

    verb: ClassVar[str] = "loader pass"
    loader: str
    number: int = 1
    ends: bool = False
    batches: int = 0
    folded: bool = False
    by_script: bool = True
    sampler_epoch: int | None = None
    random_state: RandomState = (0, 0, 0)
