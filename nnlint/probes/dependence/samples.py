"""Evidence `Mixing`: what depends on what. Samples on samples, outputs on inputs, times on later times.

Comparisons are between two evaluation-mode forwards that differ in one place of the input, so that integer inputs, masks and
models without gradients are judged alike; where inputs are floating the gradient of a random projection is a second witness.
Batch-statistics norms are in evaluation mode by then and do not mix.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nnlint.capture.graph import Graph
from nnlint.capture.op import Op
from nnlint.finding import Skip
from nnlint.probes.dependence.by_sample import INFLUENCE, Look, compared, sample_axes, shrinking_axes
from nnlint.probes.dependence.extremes import extreme_place
from nnlint.probes.dependence.under_noise import certain, is_chosen, is_random, outputs_of, outputs_of_one_seed
from nnlint.probes.measured import measured
from nnlint.tensors import tensors_in

if TYPE_CHECKING:
    import torch

    from nnlint.probes.dependence.input_gradients import InputGradients
    from nnlint.probes.dependence.inputs import InputInfluence
    from nnlint.probes.dependence.positions import OrderInfluence
    from nnlint.probes.evaluation.first_difference import Difference, Judge
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


@dataclass(frozen=True)
class FutureLeak:
    """How much outputs before a time change with the inputs from that time on; `op` is where it starts, when it does."""

    influence: float
    cut: int
    length: int
    op: Op | None


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
        from nnlint.probes.dependence.outputs import evaluate

        session = self._session
        found: list[torch.Tensor] = session.measure(
            label,
            lambda: evaluate(session.setup, inputs, seed=session.plan.seed),
            reads_only=True,
            attempt=f"the model does not take the batch of the {label}",
        )
        return found

    # ------------------------------------------------------------ samples on samples

    @measured
    def samples(self) -> SampleMixing | None:
        """Whether a sample's output depends on other samples; None when it does not.

        Raises:
            Skip: no output has an axis of samples, all samples are equal, or noise cannot be held still.
        """
        from nnlint.samples import are_nodes, with_first_sample_replaced

        base, session, count = self._of_one_seed, self._session, self._session.samples
        if are_nodes(session.batch_inputs, count):
            raise Skip("the samples are the nodes of a graph, which depend on each other")
        inputs = with_first_sample_replaced(session.batch_inputs, count)
        if inputs is None:
            raise Skip("all samples of the batch are equal")
        replaced = (
            outputs_of(session, inputs) if is_random(self._session) else session.evidence("EvalStats").replaced_outputs
        )
        look = self._compared(base, replaced)
        if look.influence > INFLUENCE:
            look = self._compared(base, replaced, shrinking=True)
        if look.influence > INFLUENCE:
            look = self._of_one_length(inputs) or look
        gradient = self._gradients.mixing if self._gradients is not None else None
        if look.constant and look.influence <= INFLUENCE and not gradient:
            look = self._second_look(inputs)
        if max(look.influence, gradient or 0.0) <= INFLUENCE:
            return self._by_extremes()
        where = self._where(inputs) or extreme_place(session.evidence("Graph"))
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
        from nnlint.samples import are_nodes, batch_layout, with_first_sample_replaced

        base, session, count = self._base(), self._session, self._session.samples
        if any(axis is not None for axis in self._axes(base)) or are_nodes(session.batch_inputs, count):
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

        return self._search("search for the mixing op", changed_inputs, beyond_first_sample(self._session.samples))

    def _search(self, label: str, changed_inputs: Any, judge: Judge) -> Difference | None:
        from nnlint.probes.evaluation.first_difference import Run, by_entries, first_difference

        session = self._session
        run = partial(Run, seed=session.plan.seed, prepare=session.setup.model.eval)
        found: Difference | None = None
        with suppress(Skip):  # the difference is there, with its place or without; what raised is a failure of its own
            found = session.measure(
                label,
                lambda: first_difference(
                    session.setup, run(session.batch_inputs), run(changed_inputs), by_entries(judge)
                ),
            )
        return found

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

        Time is the second axis of inputs and outputs. Where a model has a decoder, only its inputs are changed.

        Raises:
            Skip: evaluation mode is random.
        """
        from nnlint.probes.evaluation.first_difference import before_time

        base = self._base()
        length = self._length(base)
        if length is None:
            return None
        cut = min(length // 2 | 1, length - 1)  # odd: a mask by blocks of an even size must not fit
        inputs = self._with_other_future(length, cut)
        if inputs is None:
            raise Skip("all samples of the batch are equal")
        influence = self._change_before(cut, length, self._evaluate("causality pass", inputs))
        where = self._search("search for the leak", inputs, before_time(cut, length)) if influence > INFLUENCE else None
        return FutureLeak(influence, cut, length, where.op if where is not None else None)

    def _sequences(self) -> list[tuple[str, torch.Tensor]]:
        """Inputs along time: those of the decoder where there is one."""
        from nnlint.setup.inputs.names import named_inputs

        session = self._session
        named = list(named_inputs(session.setup.with_inputs(session.batch_inputs)))
        own = [(name, tensor) for name, tensor in named if name.startswith(("decoder", "tgt", "target"))]
        return [(name, tensor) for name, tensor in own or named if tensor.dim() in (2, 3)]

    def _length(self, base: list[torch.Tensor]) -> int | None:
        count = self._session.samples
        axis = self._time_axis
        given = {
            tensor.shape[axis] for _, tensor in self._sequences() if tensor.shape[0] == count and tensor.dim() > axis
        }
        returned = {
            size for tensor in base if tensor.dim() == 3 and tensor.shape[0] == count for size in tensor.shape[1:]
        }
        return max((length for length in given & returned if length > 1), default=None)

    @measured
    def _time_axis(self) -> int:
        """The axis of time in the inputs: the last where a one-dimensional convolution reads them, else the second."""
        graph = self._session.evidence("Graph")
        first = (
            user
            for op in graph.inputs
            for user in graph.consumers(op, through=("identity", "cast", "dropout", "concat"))
        )
        return 2 if any(op.name in ("conv1d", "conv_transpose1d") for op in first) else 1

    def _early(self, output: torch.Tensor, cut: int, length: int) -> torch.Tensor | None:
        """The part of an output that belongs to times before `cut`; None where it has no axis of time."""
        if output.dim() != 3 or output.shape[0] != self._session.samples or length not in output.shape[1:]:
            return None
        # (batch, time, features) or (batch, features, time): as in the inputs where both axes have the length.
        axis = self._time_axis if output.shape[1] == output.shape[2] else 1 + list(output.shape[1:]).index(length)
        return output.narrow(axis, 0, cut)

    def _with_other_future(self, length: int, cut: int) -> Any:
        """The batch with every sample's future taken from the sample before it; None where that changes nothing."""
        import torch

        from nnlint.tensors import map_tensors

        axis = self._time_axis
        chosen = {id(tensor) for _, tensor in self._sequences() if tensor.shape[axis : axis + 1] == (length,)}
        differing = []

        def change(tensor: torch.Tensor) -> torch.Tensor:
            if id(tensor) not in chosen:
                return tensor
            changed = tensor.clone()
            later = changed.narrow(axis, cut, length - cut)
            later.copy_(tensor.roll(1, dims=0).narrow(axis, cut, length - cut))
            differing.append(not torch.equal(changed, tensor))
            return changed

        inputs = map_tensors(change, self._session.batch_inputs)
        return inputs if any(differing) else None

    def _change_before(self, cut: int, length: int, changed: list[torch.Tensor]) -> float:
        from nnlint.probes.dependence.outputs import relative_difference

        same = [(a, b) for a, b in zip(self._base(), changed, strict=False) if a.shape == b.shape]
        both = [(self._early(a, cut, length), self._early(b, cut, length)) for a, b in same]
        early = [(a, b) for a, b in both if a is not None and b is not None]
        return relative_difference([a for a, _ in early], [b for _, b in early])

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
