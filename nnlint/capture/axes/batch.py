"""Which axis of the model's inputs and of the loss's targets holds the samples, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op


@dataclass(frozen=True)
class Samples:
    """The samples of a run.

    Attributes:
        count: how many there are; 0 where no axis of samples is known.
        settled: whether more than the place of the axis speaks for it.
        place: the dimension that holds them in the first input.
    """

    count: int
    settled: bool
    place: int = 0

    @classmethod
    def of(cls, graph: Graph) -> Samples:
        """From the facts of the run; the nodes of a graph are no samples."""
        facts = graph.facts
        return cls(0 if facts.samples_are_nodes else facts.samples, facts.samples_settled, facts.samples_axis)

    def axis(self, op: Op) -> int | None:
        """The dimension of the samples in an input or a target: of that size, where the first input has it if that fits."""
        if self.count < 2 or op.shape is None:
            return None
        fitting = [at for at, size in enumerate(op.shape[:2]) if size == self.count]
        return self.place if self.place in fitting else next(iter(fitting), None)
