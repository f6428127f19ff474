"""The same forward on one sample fewer: sizes that agree with the batch by chance agree no more."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from nnlint.finding import Skip
from nnlint.probes.evaluation.first_difference import Run, recorded
from nnlint.probes.fake import fake_setup
from nnlint.probes.longer.loop import small_batch
from nnlint.probes.measured import measured
from nnlint.samples import sample_count

if TYPE_CHECKING:
    from nnlint.capture.axes.answers import OpAxes
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

#: A batch of two leaves one sample, and any axis of one entry looks like that.
_FEWEST = 3
#: Samples that are enough for this.
_MOST = 13


class FewerSamples:
    """What the model does with one sample fewer, recorded when it is first asked for.

    A batch of 8 beside heads of width 8: shapes alone do not tell `view(length, batch * heads, width)`, which merges neighbours,
    from batch and channels swapped by `view`. With 7 samples they do.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @measured
    def graph(self) -> Graph:
        """The graph of the forward on one sample fewer, in training mode.

        Raises:
            Skip: the batch cannot be cut, or the model does not take fewer samples.
        """
        session = self._session
        count = sample_count(session.setup)
        fewer = small_batch(session.setup, min(count - 1, _MOST))
        if count < _FEWEST or fewer is session.setup:
            raise Skip("the batch cannot be cut by a sample")
        found: Graph = session.measure(
            "forward on one sample fewer",
            lambda: _recorded(session, fewer),
            reads_only=True,
            attempt="the model does not take one sample fewer",
        )
        return found

    def counterpart(self, op: Op) -> OpAxes | None:
        """The axes of the same call there; None where there is no such graph or call.

        Args:
            op: of the whole batch.
        """
        with suppress(Skip):
            there = self.graph.counterpart(op)
            return self.graph.axes(there) if there is not None else None
        return None


def _recorded(session: Session, setup: TrainingSetup) -> Graph:
    if not session.is_fake:
        return recorded(setup, _run(session, setup))
    with fake_setup(setup) as fake:
        return recorded(fake, _run(session, fake))


def _run(session: Session, setup: TrainingSetup) -> Run:
    return Run(setup.inputs, session.plan.seed, setup.model.train)


def provide(session: Session) -> FewerSamples:
    """The evidence, for rules."""
    return FewerSamples(session)
