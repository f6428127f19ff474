"""Evidence `EvalStats`: evaluation mode against itself and against training. Each comparison runs when a rule first asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from nnlint.capture.graph import Graph, Op
from nnlint.finding import Skip

if TYPE_CHECKING:
    import torch

    from nnlint.probes.session import Session
    from nnlint.probes.stats import ForwardStats, LayerStats

#: Outputs of two evaluation passes that differ by less, relative to their largest value, are the same but for rounding.
SAME = 1e-4


@dataclass(frozen=True)
class Randomness:
    """Two evaluation passes on the same batch gave different outputs.

    Attributes:
        difference: largest difference relative to the largest output.
        op: the first op whose output differs, in the evaluation-mode graph; None where it could not be found.
        graph: that graph.
    """

    difference: float
    op: Op | None
    graph: Graph | None

    @property
    def from_dropout(self) -> bool:
        """Whether a dropout is what made the difference."""
        return self.op is not None and (
            self.op.is_kind("dropout") or bool(self.op.argument("dropout_p")) or bool(self.op.argument("dropout"))
        )


class EvalStats:
    """Comparisons in evaluation mode; every method is measured once, in the session's state guard."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # ------------------------------------------------------------ train against eval

    @cached_property
    def _without_dropout(self) -> ForwardStats:
        from nnlint.probes.training_pass import run_without_dropout

        session = self._session
        found: ForwardStats | None = session.measure(
            "forward without dropout", lambda: run_without_dropout(session.setup, seed=session.plan.seed)
        )
        if found is None:
            raise Skip("the forward without dropout raised")
        return found

    def without_dropout(self, op: Op) -> LayerStats | None:
        """Statistics of an op of the training graph in the same forward with every dropout an identity."""
        plain = next((layer for layer in self._without_dropout.layers if layer.op.index == op.index), None)
        return plain if plain is not None and plain.op.name == op.name else None

    def variance_ratio(self, op: Op) -> float | None:
        """Var(op's output with dropout) / Var(without): the shift a batch norm behind it meets in evaluation.

        None where the op was not measured. Inverted dropout with keep probability q gives
        1/q + (1/q - 1) mean^2 / var (Li, Chen, Hu and Yang, 2019, arXiv:1801.05134).
        """
        forward: ForwardStats = self._session.evidence("ForwardStats")
        noisy, plain = forward.of(op), self.without_dropout(op)
        if noisy is None or plain is None or not plain.std > 0.0:
            return None
        return float(noisy.std**2 / plain.std**2)

    # ------------------------------------------------------------ eval against eval

    @cached_property
    def _passes(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        from nnlint.probes.outputs import evaluate

        session = self._session
        seed, inputs = session.plan.seed, session.batch_inputs

        def run() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
            first = evaluate(session.setup, inputs, seed=seed)
            session.guard.rewind()
            return first, evaluate(session.setup, inputs, seed=seed + 1)

        found: tuple[list[torch.Tensor], list[torch.Tensor]] = session.measure("evaluation passes", run)
        return found

    @property
    def outputs(self) -> list[torch.Tensor]:
        """Floating outputs of one evaluation pass (detached)."""
        return self._passes[0]

    @cached_property
    def randomness(self) -> Randomness | None:
        """How two evaluation passes with different seeds differ; None when they agree."""
        from nnlint.probes.fingerprints import first_difference
        from nnlint.probes.outputs import relative_difference

        difference = relative_difference(*self._passes)
        if difference <= SAME:
            return None
        session = self._session
        seed, inputs = session.plan.seed, session.batch_inputs

        def search() -> tuple[Op, Graph] | None:
            return first_difference(
                session.setup, (inputs, seed), (inputs, seed + 1), lambda x: x if x.is_floating_point() else None
            )

        found = session.measure("search for the random op", search)
        op, graph = found if found is not None else (None, None)
        return Randomness(difference, op, graph)

    @cached_property
    def output_spread(self) -> float | None:
        """Spread of the evaluation outputs over the samples, relative to their size; 0 when the input does not matter.

        None where no output has the batch as its first dimension or the batch holds a single sample.
        """
        return spread(self.outputs, self._session.samples)


def spread(outputs: list[torch.Tensor], samples: int) -> float | None:
    """Largest difference between samples over the outputs, relative to their largest magnitude."""
    batched = [tensor for tensor in outputs if tensor.dim() and tensor.shape[0] == samples]
    if not batched or samples < 2:
        return None
    worst = 0.0
    for tensor in batched:
        scale = float(tensor.abs().max())
        if scale > 0.0:
            worst = max(worst, float((tensor - tensor[:1]).abs().max()) / scale)
    return worst
