"""Evidence `Mixing`: what depends on what. Samples on samples, outputs on inputs, times on later times.

Comparisons are between two evaluation-mode forwards that differ in one place of the input, so that integer inputs, masks and
models without gradients are judged alike; where inputs are floating the gradient of a random projection is a second witness.
Batch-statistics norms are in evaluation mode by then and do not mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nnlint.capture.graph import Graph
from nnlint.capture.op import Op
from nnlint.finding import Skip
from nnlint.probes.dependence.by_sample import INFLUENCE, Look, compared, sample_axes, shrinking_axes
from nnlint.probes.dependence.comparisons import measured_difference, measured_outputs
from nnlint.probes.dependence.extremes import extreme_place
from nnlint.probes.dependence.future import FutureLeak
from nnlint.probes.dependence.layout import why_together
from nnlint.probes.dependence.row_order import in_one_order
from nnlint.probes.dependence.rows import (
    of_all_rows,
    rows_are_no_samples,
    second_axis_is_mixed,
    takes_one_sample,
    where_samples_end,
)
from nnlint.probes.dependence.shifts import softmax_removes
from nnlint.probes.dependence.under_noise import certain, is_chosen, is_random, outputs_of, outputs_of_one_seed
from nnlint.probes.measured import measured
from nnlint.tensors import tensors_in

if TYPE_CHECKING:
    import torch

    from nnlint.probes.dependence.input_gradients import InputGradients
    from nnlint.probes.dependence.inputs import InputInfluence
    from nnlint.probes.dependence.positions import OrderInfluence
    from nnlint.probes.evaluation.first_difference import Difference
    from nnlint.probes.session import Session


@dataclass(frozen=True)
class SampleMixing:
    """The output of one sample depends on another.

    Attributes:
        influence: change of the other samples' outputs when one sample is replaced, relative to the largest output, or to its own
            change where that is smaller; 0 where no output has an axis of samples to compare along.
        gradient: largest gradient of some samples' outputs with respect to the other samples, relative to that with respect
            to their own; None without floating inputs.
        op: the first op where other samples change; None where it could not be found.
        graph: the evaluation-mode graph of the op.
        pairwise: only outputs of shape (batch, batch) mix: each sample against each.
        settled: whether the mixed axis is that of the samples for certain, or mixed like every other reading of it.
        samples: how many there were.
        of_own: whether the influence is relative to the change of the replaced sample's own outputs.
    """

    influence: float
    gradient: float | None
    op: Op | None
    graph: Graph | None
    pairwise: bool
    settled: bool
    samples: int
    of_own: bool = False


class Mixing:
    """Dependence between samples, inputs and times; every property is measured once, in the session's state guard."""

    def __init__(self, session: Session) -> None:
        if session.samples < 2:
            raise Skip("the batch holds a single sample, or its samples are not along a common axis")
        self._session = session

    def _base(self) -> list[torch.Tensor]:
        stats = self._session.evidence("EvalStats")
        if stats.randomness is not None:
            raise Skip("evaluation mode is random (ARC012 or SIG007): dependence cannot be told from noise")
        outputs: list[torch.Tensor] = stats.outputs
        return outputs

    @measured
    def _of_one_seed(self) -> list[torch.Tensor]:
        return outputs_of_one_seed(self._session)

    def _evaluate(self, label: str, inputs: Any) -> list[torch.Tensor]:
        return measured_outputs(self._session, label, inputs)

    # ------------------------------------------------------------ samples on samples

    @measured
    def samples(self) -> SampleMixing | None:
        """Whether a sample's output depends on other samples; None when it does not.

        Raises:
            Skip: no output has an axis of samples, all samples are equal, or noise cannot be held still.
        """
        from nnlint.samples import with_first_sample_replaced

        base, session, count = self._of_one_seed, self._session, self._session.samples
        if together := why_together(session):
            raise Skip(together)
        inputs = with_first_sample_replaced(session.batch_inputs, count)
        if inputs is None:
            raise Skip("all samples of the batch are equal")
        replaced = (
            outputs_of(session, inputs) if is_random(self._session) else session.evidence("EvalStats").replaced_outputs
        )
        if rows_are_no_samples(session, base, lambda: self._shapes_with_fewer):
            return self._of_other_rows(of_all_rows(base, replaced), inputs)
        look = self._looked_at_again(base, replaced, inputs)
        gradient = self._gradients.mixing if self._gradients is not None else None
        if look.constant and look.influence <= INFLUENCE and not gradient:
            look = self._second_look(inputs)
        if max(look.influence, gradient or 0.0) <= INFLUENCE:
            return self._by_extremes()
        where = self._where(inputs) or extreme_place(session.evidence("Graph"))
        if where is not None and softmax_removes(where.op, session.evidence("Graph")):
            return None
        if is_random(self._session) and is_chosen(where.op if where is not None else None):
            self._base()
        return SampleMixing(
            influence=look.influence,
            gradient=gradient,
            op=where.op if where is not None else None,
            graph=where.graph if where is not None else None,
            pairwise=look.pairwise and (count - 1, count - 1) in self._shapes_with_fewer,
            settled=self._settled(),
            samples=count,
            of_own=look.of_own,
        )

    def _looked_at_again(self, base: list[torch.Tensor], replaced: list[torch.Tensor], inputs: Any) -> Look:
        """The comparison along the samples, and while samples seem to depend on each other along what else may hold them."""
        look = self._compared(base, replaced)
        if look.influence > INFLUENCE:
            look = self._compared(base, replaced, shrinking=True)
        if look.influence > INFLUENCE:
            look = self._of_one_length(inputs) or look
        if look.influence > INFLUENCE:
            look = self._compared(*in_one_order(self._session, inputs, base, replaced))
        return look

    def _of_other_rows(self, look: Look, inputs: Any) -> SampleMixing | None:
        """What a sample does to all rows, where none of them is its own."""
        session = self._session
        if look.influence <= INFLUENCE:
            return None
        where = where_samples_end(session.evidence("Graph")) or self._where(inputs)
        if where is not None and takes_one_sample(where.graph, where.op):
            return None
        op, graph = (where.op, where.graph) if where is not None else (None, None)
        settled = second_axis_is_mixed(session, self._of_one_seed, partial(self._evaluate, "independence pass"))
        return SampleMixing(look.influence, None, op, graph, pairwise=False, settled=settled, samples=session.samples)

    def _by_extremes(self) -> SampleMixing | None:
        """Samples that depend on the largest value of the batch, whichever of them holds it; None where none do."""
        from nnlint.probes.dependence.extremes import by_extremes

        session, graph = self._session, self._session.evidence("Graph")
        found = by_extremes(graph, session, partial(self._evaluate, "independence pass"), self._compared)
        if found is None:
            return None
        look, op = found
        settled, own = self._settled(), look.of_own
        return SampleMixing(look.influence, None, op, graph, pairwise=False, settled=settled, samples=session.samples, of_own=own)

    @measured
    def inside(self) -> SampleMixing | None:
        """Where samples start to depend on each other, if no output has an axis of samples: the model returns its loss.

        A loss depends on all samples, so this is about the first op alone; None where nothing mixes, or outputs can be compared.

        Raises:
            Skip: all samples are equal, or evaluation mode is random.
        """
        from nnlint.samples import batch_layout, with_first_sample_replaced

        base, session, count = self._base(), self._session, self._session.samples
        if any(axis is not None for axis in self._axes(base)) or why_together(session):
            return None
        inputs = with_first_sample_replaced(session.batch_inputs, count)
        if inputs is None:
            raise Skip("all samples of the batch are equal")
        where = self._where(inputs)
        if where is None:
            return None
        second_axis = with_first_sample_replaced(session.batch_inputs, count, axis=1)
        settled = batch_layout(session.setup).settled or second_axis is None
        return SampleMixing(0.0, None, where.op, where.graph, pairwise=False, settled=settled, samples=count)

    def _axes(self, outputs: list[torch.Tensor]) -> list[int | None]:
        return sample_axes(outputs, self._session.samples, lambda: self._shapes_with_fewer)

    def _compared(self, base: list[torch.Tensor], changed: list[torch.Tensor], *, shrinking: bool = False) -> Look:
        """Compare along the axis of the samples; with `shrinking` along one that shrinks with the batch, if the batch can be cut.

        As many layers as samples are no samples.
        """
        count, fewer = self._session.samples, self._shapes_with_fewer if shrinking else ()
        axes = shrinking_axes(base, count, fewer) if fewer and len(fewer) == len(base) else self._axes(base)
        look = compared(base, changed, axes, count)
        if look is None and shrinking:
            return Look(constant=False, influence=0.0, pairwise=False)
        if look is None:
            raise Skip("no output has the batch along any axis")
        return look

    def _of_one_length(self, changed: Any) -> Look | None:
        """The comparison with packed sequences unpacked to one length: padding that is read is no mixing. None without such."""
        from nnlint.probes.dependence.padding_packed import Unpacked, unpacked_in

        lengths = unpacked_in(self._session.evidence("Graph"))
        if not lengths:
            return None
        with Unpacked(lengths):
            given = self._session.batch_inputs
            return self._compared(*(self._evaluate("independence pass", inputs) for inputs in (given, changed)))

    def _second_look(self, inputs: Any) -> Look:
        """The same comparison after a few updates: a zero-initialized head hides what is before it."""
        from nnlint.probes.dependence.outputs import evaluate
        from nnlint.probes.updates.after_updates import second_look

        session = self._session
        seed = session.plan.seed

        def look() -> Look:
            base = evaluate(session.setup, session.batch_inputs, seed=seed)
            return self._compared(base, evaluate(session.setup, inputs, seed=seed))

        return second_look(session, "independence after steps", look, lambda seen: not seen.constant)

    @measured
    def _shapes_with_fewer(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs for one sample fewer; none where the batch cannot be cut."""
        from nnlint.samples import first_samples

        count = self._session.samples
        fewer = first_samples(self._session.batch_inputs, count, count - 1)
        if fewer is self._session.batch_inputs:
            return ()
        return tuple(tuple(tensor.shape) for tensor in self._evaluate("independence pass", fewer))

    def _settled(self) -> bool:
        from nnlint.probes.dependence.layout import is_settled

        return is_settled(self._session, self._of_one_seed, partial(self._evaluate, "independence pass"))

    def _where(self, changed_inputs: Any) -> Difference | None:
        from nnlint.probes.evaluation.first_difference import beyond_first_sample

        judge = beyond_first_sample(self._session.samples)
        return measured_difference(self._session, "search for the mixing op", changed_inputs, judge)

    # ------------------------------------------------------------ outputs on inputs

    @measured
    def _gradients(self) -> InputGradients | None:
        from nnlint.probes.dependence.input_gradients import measured_gradients

        return measured_gradients(self._session, self._of_one_seed)

    @measured
    def inputs(self) -> tuple[InputInfluence, ...]:
        """The influence of every input tensor and, for floating ones, of their features.

        Raises:
            Skip: evaluation mode is random.
        """
        from nnlint.probes.dependence.inputs import InputProbe

        found = InputProbe(self._session, self._of_one_seed, self._gradients).run()
        return tuple(map(certain, found)) if is_random(self._session) else found

    # ------------------------------------------------------------ times on later times

    @measured
    def future(self) -> FutureLeak | None:
        """Change of the outputs before a time when the inputs from it on change; None: no time axis found.

        Raises:
            Skip: evaluation mode is random, or all samples are equal.
        """
        from nnlint.probes.dependence.future import FutureProbe

        return FutureProbe(self._session, self._base()).run()

    # ------------------------------------------------------------ order

    @measured
    def order(self) -> OrderInfluence | None:
        """What shuffling the positions of the sequence changes; None where the inputs have no single sequence axis.

        Raises:
            Skip: evaluation mode is random.
        """
        from nnlint.probes.dependence.positions import order_influence

        return order_influence(self._session, self._base())


def provide(session: Session) -> Mixing:
    """What depends on what.

    Raises:
        Skip: no evaluation-mode forward can be run, or the batch holds a single sample or nested tensors.
    """
    session.evidence("EvalStats")
    if any(tensor.is_nested for tensor in tensors_in(session.setup.inputs)):
        raise Skip("the inputs are nested: their samples have different shapes and cannot be exchanged")
    return Mixing(session)
