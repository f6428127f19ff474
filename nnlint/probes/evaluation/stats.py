"""Evidence `EvalStats`: evaluation mode against itself and against training. Each comparison runs when a rule first asks for it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nnlint.capture.graph import Graph
from nnlint.capture.op import Op
from nnlint.finding import OutOfBudget, Skip
from nnlint.probes.evaluation.noise import meets
from nnlint.probes.measured import measured
from nnlint.probes.torch_errors import one_line

if TYPE_CHECKING:
    import torch

    from nnlint.probes.evaluation.train_eval_gap import TrainEvalGap
    from nnlint.probes.session import Session
    from nnlint.probes.training_pass.stats import ForwardStats, LayerStats, NonFinite

#: Outputs of two evaluation passes that differ by less, relative to their largest value, are the same but for rounding.
SAME = 1e-4
#: Seeds that are tried where the model draws random numbers: by chance, two masks over a few outputs may be the same.
_RETRIES = 4
#: Standard deviations of the outputs between the modes below which nothing is lost (docs/evidence/calibration.md#independence).
_DIFFERENT = 0.3
#: Samples whose outputs differ by less, relative to their largest value, are told apart by rounding only.
CONSTANT = 1e-6


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
        """Whether a dropout is what made the difference: one of its own, or the one inside a recurrent or attention layer."""
        return self.op is not None and self.op.is_kind("dropout", "recurrent", "attention")

    @property
    def meets(self) -> Op | None:
        """The op where the noise meets an activation."""
        return meets(self.op) if self.op is not None else None


@dataclass(frozen=True)
class NonFiniteEvaluation:
    """NaN or Inf in the outputs of evaluation mode.

    Attributes:
        cause: the first op that made it, in the evaluation-mode graph.
        graph: that graph.
        gone_after_updates: whether it is gone after a few updates, as where running statistics are still at their first values.
    """

    cause: NonFinite
    graph: Graph
    gone_after_updates: bool


@dataclass(frozen=True)
class _Passes:
    """Outputs of one evaluation pass and of another.

    Attributes:
        replaced: of the pass with the first sample replaced; None where all samples are equal, or where it raised.
        drawing: whether the first drew random numbers.
        refused: what the pass with the first sample replaced raised; empty where it did not.
    """

    first: list[torch.Tensor]
    replaced: list[torch.Tensor] | None
    drawing: bool
    refused: str = ""


class EvalStats:
    """Comparisons in evaluation mode; every method is measured once, in the session's state guard."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # ------------------------------------------------------------ train against eval

    @measured
    def _without_dropout(self) -> ForwardStats:
        from nnlint.probes.training_pass.reruns import run_without_dropout

        session = self._session
        found: ForwardStats = session.measure(
            "forward without dropout",
            lambda: run_without_dropout(session.setup, seed=session.plan.seed),
            attempt="the forward cannot be run with its dropout left out",
        )
        return found

    def without_dropout(self, op: Op) -> LayerStats | None:
        """Statistics of an op of the training graph in the same forward with every dropout an identity."""
        plain = next((layer for layer in self._without_dropout.layers if layer.op.index == op.index), None)
        return plain if plain is not None and plain.op.name == op.name else None

    def variance_ratio(self, op: Op) -> float | None:
        """Var(op's output with dropout) / Var(without): the shift a batch norm after it meets in evaluation.

        None where the op was not measured. Inverted dropout with keep probability q gives
        1/q + (1/q - 1) mean^2 / var (Li, Chen, Hu and Yang, 2019, arXiv:1801.05134).
        """
        forward: ForwardStats = self._session.evidence("ForwardStats")
        noisy, plain = forward.of(op), self.without_dropout(op)
        if noisy is None or plain is None or not plain.std > 0.0:
            return None
        return float(noisy.std**2 / plain.std**2)

    @measured
    def gap(self) -> TrainEvalGap | None:
        """Training mode without dropout and with fixed statistics against evaluation mode; None when they agree.

        Raises:
            Skip: evaluation mode is random and not the same as training from one seed, or the forward raises in training mode.
        """
        from nnlint.probes.evaluation.train_eval_gap import measure_gap

        # Both modes from the same seed: where they agree, they draw the same noise. Where they do not, it may be the noise.
        found: TrainEvalGap | None = measure_gap(self._session, self.outputs)
        if found is not None and self.randomness is not None:
            raise Skip("evaluation mode is random (ARC012 or SIG007): there is nothing to compare with")
        return found

    @measured
    def emptied(self) -> Op | None:
        """The op that gives nothing but zeros in evaluation mode and more in training; None where there is none.

        Looked for only where the modes differ on average, or where evaluation cannot tell the samples apart: noise that is added
        in training alone is zero in evaluation for a good reason.
        """
        from nnlint.probes.evaluation.emptied import find_emptied

        with suppress(Skip):  # noise in evaluation mode: only a constant output then says that something is emptied
            gap = self.gap
            if gap is not None and gap.size > max(_DIFFERENT, gap.noise) and not (gap.noise and gap.deliberate):
                return find_emptied(self._session)
        spread = self.output_spread
        return find_emptied(self._session) if spread is not None and spread <= CONSTANT else None

    # ------------------------------------------------------------ eval against eval

    @measured
    def _passes(self) -> _Passes:
        """Outputs of one pass, and of another with another seed and the first sample replaced.

        The second answers two questions at once: where the other samples' outputs agree, evaluation is neither random nor
        does it mix samples. None where all samples are equal.

        Raises:
            Skip: the forward raises in evaluation mode, on a few samples and on the whole batch.
        """
        session = self._session
        if session.batch_inputs is not session.setup.inputs:
            try:
                return self._both_passes(attempt="the model does not take fewer samples than the batch has")
            except OutOfBudget:
                raise
            except Skip:
                session.use_whole_batch()
        if session.setup.own_loss is not None:
            return self._both_passes(attempt="forward does not take what training_step is given")
        return self._both_passes()

    def _both_passes(self, *, attempt: str = "") -> _Passes:
        from nnlint.probes.dependence.outputs import evaluate
        from nnlint.samples import with_first_sample_replaced
        from nnlint.seeding import draws

        session = self._session
        seed, inputs = session.plan.seed, session.batch_inputs
        replaced = with_first_sample_replaced(inputs, session.samples) if session.samples > 1 else None

        def run() -> _Passes:
            drawing, first = draws(lambda: evaluate(session.setup, inputs, seed=seed), seed=seed)
            if replaced is None:
                return _Passes(first, None, drawing)
            session.guard.rewind(after_reading=True)
            try:
                return _Passes(first, evaluate(session.setup, replaced, seed=seed + 1), drawing)
            except Exception as error:  # no batch that training makes: the first id has to be a start token, say
                return _Passes(first, None, drawing, one_line(error))

        found: _Passes = session.measure("evaluation passes", run, reads_only=True, attempt=attempt)
        return found

    @property
    def outputs(self) -> list[torch.Tensor]:
        """Floating outputs of one evaluation pass (detached)."""
        return self._passes.first

    @property
    def replaced_outputs(self) -> list[torch.Tensor] | None:
        """The same with another seed and the first sample replaced; None where all samples are equal.

        Raises:
            Skip: the model does not take such a batch.
        """
        if self._passes.refused:
            raise Skip(f"the model does not take its batch with the first sample replaced: {self._passes.refused}")
        return self._passes.replaced

    @measured
    def randomness(self) -> Randomness | None:
        """How two evaluation passes with different seeds differ; None when they agree."""
        from nnlint.probes.dependence.outputs import evaluate, other_samples, relative_difference

        session = self._session
        seed, inputs = session.plan.seed, session.batch_inputs
        others = other_samples(self.outputs, self._passes.replaced, samples=session.samples)
        agree = others is not None and relative_difference(*others) <= SAME
        if agree and not self._passes.drawing:
            return None
        for other in range(seed + 1, seed + 1 + (_RETRIES if self._passes.drawing else 1)):
            run = partial(evaluate, session.setup, inputs, seed=other)
            again: list[torch.Tensor] = session.measure("evaluation passes", run, reads_only=True)
            difference = relative_difference(self.outputs, again)
            if difference > SAME:
                return self._at(difference, other)
        return None

    def _at(self, difference: float, other: int) -> Randomness:
        """The place of a difference that the other seed makes."""
        from nnlint.probes.evaluation.first_difference import Difference, Run, any_change, by_entries, first_difference

        session = self._session
        runs = [Run(session.batch_inputs, seed, session.setup.model.eval) for seed in (session.plan.seed, other)]
        found: Difference | None = None
        with suppress(Skip):  # the difference is there, with its place or without; what raised is a failure of its own
            found = session.measure(
                "search for the random op",
                lambda: first_difference(session.setup, runs[0], runs[1], by_entries(any_change)),
            )
        return Randomness(difference, found.op if found else None, found.graph if found else None)

    @measured
    def output_spread(self) -> float | None:
        """Spread of the evaluation outputs over the samples, relative to their size; 0 when the input does not matter.

        None where no output has the batch as its first dimension or the batch holds a single sample.
        """
        from nnlint.probes.dependence.outputs import spread

        return spread(self.outputs, self._session.samples)

    @property
    def samples_differ(self) -> bool:
        """Whether the samples that the passes ran on differ at all."""
        return self._passes.replaced is not None or bool(self._passes.refused)

    @measured
    def outputs_finite(self) -> bool:
        """Whether every output has a finite value at least somewhere."""
        return all(bool(tensor.isfinite().any()) for tensor in self.outputs)

    @measured
    def non_finite(self) -> NonFiniteEvaluation | None:
        """Where NaN or Inf in the outputs comes from; None where they are finite (-Inf is a mask), or no op makes it."""
        from nnlint.probes.evaluation.first_difference import Run, recorded
        from nnlint.probes.training_pass.non_finite import NonFiniteFinder, all_finite

        if all_finite(self.outputs):
            return None
        session, finder = self._session, NonFiniteFinder()
        again = Run(session.batch_inputs, session.plan.seed, session.setup.model.eval)
        graph: Graph = session.measure("non-finite search", lambda: recorded(session.setup, again, finder))
        cause = finder.found(graph)
        return NonFiniteEvaluation(cause, graph, self._finite_after_steps()) if cause is not None else None

    def _finite_after_steps(self) -> bool:
        from nnlint.probes.dependence.outputs import evaluate
        from nnlint.probes.training_pass.non_finite import all_finite
        from nnlint.probes.updates.after_updates import second_look

        session = self._session
        look = partial(evaluate, session.setup, session.batch_inputs, seed=session.plan.seed)
        try:
            return all_finite(second_look(session, "evaluation after steps", look, all_finite))
        except Skip:  # no update can be made: what is there stays
            return False

    @measured
    def spread_after_steps(self) -> float | None:
        """The spread over the whole batch after a few updates, at the first where it is there.

        A zero-initialized head has none before, and a gate may be closed for the few samples of the other passes.

        Raises:
            Skip: the model cannot be updated.
        """
        from nnlint.probes.dependence.outputs import evaluate, spread
        from nnlint.probes.updates.after_updates import second_look
        from nnlint.samples import sample_count

        setup, seed = self._session.setup, self._session.plan.seed

        def look() -> float | None:
            return spread(evaluate(setup, setup.inputs, seed=seed), sample_count(setup))

        return second_look(self._session, "evaluation after steps", look, lambda seen: (seen or 0.0) > CONSTANT)


def provide(session: Session) -> EvalStats:
    """The comparisons in evaluation mode.

    Raises:
        Skip: nothing can be run on real values, or the forward raised in training mode already.
    """
    if session.is_fake:
        raise Skip(session.why_fake)
    if any(failure.code == "RUN002" for failure in session.training_pass.failures):
        raise Skip(session.training_pass.reasons["ForwardStats"])
    if session.setup.inputs is None:
        raise Skip("no example input")
    return EvalStats(session)
