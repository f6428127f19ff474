"""Evidence `PaddingStats`: whether padding reaches the outputs at valid positions, and whether it is counted by the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint.finding import Skip
from nnlint.probes.measured import measured
from nnlint.tensors import shape_of

if TYPE_CHECKING:
    import torch

    from nnlint.probes.dependence.padded import Leaf, PaddedSequence, PadIds
    from nnlint.probes.dependence.padding_cause import Cause
    from nnlint.probes.dependence.padding_loss import PaddingInLoss
    from nnlint.probes.dependence.padding_runs import Chosen
    from nnlint.probes.session import Session

_NO_PADDING = "no padding in the batch: no mask, no lengths, no padding id and no constant ends of different length"
#: Smaller changes, relative to what tells samples apart, are rounding: other shapes make kernels add in another order.
ROUNDING = 1e-4
#: Samples that are compared.
_COMPARED = 4
#: Said where the model raises on what the probe makes of the batch.
_REFUSED = "the model does not take its batch with other padding"


@dataclass(frozen=True, eq=False)
class PaddingRead:
    """Padding that changes outputs at valid positions, or the vector made of a sequence.

    Attributes:
        name: of the padded input.
        known_by: how its padding was told, in words.
        given_mask: name of the input that says where the content is; None where there is none.
        given_lengths: name of the input that holds the lengths of the samples; None where there is none.
        flat_mask: name of an input called mask that has one value only; None where there is none.
        trimmed: change of the outputs when padding is cut off, relative to what tells samples (and positions) apart; None where
            the model does not run on shorter sequences.
        refilled: the same when the padding is filled with valid content instead.
        at_start: the padding is before the content.
        share: share of the positions of the batch that are padding.
        cause: the op that reads the padding.
    """

    name: str
    known_by: str
    given_mask: str | None
    given_lengths: str | None
    flat_mask: str | None
    trimmed: float | None
    refilled: float | None
    at_start: bool
    share: float
    cause: Cause


class PaddingStats:
    """Padding of the batch and what it does; every property is measured once, in the session's state guard."""

    def __init__(self, session: Session) -> None:
        if session.setup.inputs is None:
            raise Skip("no example input")
        if session.setup.inputs_assumed:
            raise Skip("needs a real batch; nnlint generated the inputs")
        self._session = session

    @measured
    def _leaves(self) -> tuple[Leaf, ...]:
        from nnlint.probes.dependence.padded import Leaf
        from nnlint.setup.inputs.names import named_inputs

        return tuple(
            Leaf(name, index, tensor) for index, (name, tensor) in enumerate(named_inputs(self._session.setup))
        )

    @measured
    def _found(self) -> tuple[int, tuple[PaddedSequence, ...]]:
        """The number of samples, and the padded inputs."""
        from nnlint.probes.dependence.padded import find_padding
        from nnlint.samples import batch_layout

        layout = batch_layout(self._session.setup)
        counts = [layout.samples]
        if not layout.settled:
            # (time, batch) data look just the same, until one axis turns out to be padded.
            counts += [size for leaf in self._leaves for size in shape_of(leaf.tensor)[1:2]]
        for count in dict.fromkeys(counts):
            found = find_padding(self._leaves, count, self.pad_ids)
            if found:
                return count, found
        return layout.samples, ()

    @property
    def _samples(self) -> int:
        return self._found[0]

    @measured
    def pad_ids(self) -> PadIds:
        """Ids that are declared to be padding: by the setup, `padding_idx` of an embedding, `pad_token_id` of a configuration."""
        from nnlint.probes.dependence.pad_ids import pad_ids

        return pad_ids(self._session.setup.model, self._session.setup.pad_id)

    @property
    def sequences(self) -> tuple[PaddedSequence, ...]:
        """The padded inputs; empty where the batch has no padding."""
        return self._found[1]

    @measured
    def in_loss(self) -> PaddingInLoss:
        """What padded target positions contribute to the loss.

        Raises:
            Skip: the targets have no padded positions, or no output has the positions of the targets.
        """
        from nnlint.probes.dependence.padding_loss import padding_in_loss

        return padding_in_loss(self._session, self.sequences, self.pad_ids, self._samples)

    # ------------------------------------------------------------ outputs

    @measured
    def read(self) -> tuple[PaddingRead, ...]:
        """The padded inputs whose padding reaches the outputs at valid positions.

        Raises:
            Skip: there is no padding, the model raises in evaluation mode, or no output can be compared.
        """
        if not self.sequences:
            raise Skip(_NO_PADDING)
        session = self._session
        if session.evidence("EvalStats").randomness is None:
            whole = self._trimmed(None)
            if whole is not None and whole <= ROUNDING:
                return ()
        return tuple(found for number in range(len(self.sequences)) if (found := self._judged(number)) is not None)

    def _trimmed(self, number: int | None) -> float | None:
        """Change of the outputs of the most padded samples when padding is cut off; None where that cannot be run.

        Args:
            number: of one sequence; None for all of them together.
        """
        from nnlint.probes.dependence.outputs import evaluate
        from nnlint.probes.dependence.padding_packed import Unpacked
        from nnlint.probes.dependence.padding_runs import change, trimmed

        session, setup = self._session, self._session.setup
        if session.evidence("EvalStats").randomness is not None:
            return None  # random numbers are drawn in other places of a shorter sequence
        chosen = self._chosen(number)
        shorter = trimmed(chosen, only=chosen.sequences[number] if number is not None else None)
        if shorter is None:
            return None

        def run() -> float | None:
            with Unpacked(chosen.unpacked):
                before = evaluate(setup, chosen.inputs, seed=session.plan.seed)
            try:
                with Unpacked(shorter.unpacked):
                    after = evaluate(setup, shorter.inputs, seed=session.plan.seed)
            except Exception:
                return None  # a table of positions, or a mask, of one fixed length
            return change(before, after, chosen, shorter.sizes)

        found: float | None = session.measure("padding cut off", run, reads_only=True, attempt=_REFUSED)
        return found

    def _chosen(self, number: int | None) -> Chosen:
        """The samples with the most padding in one sequence, or over all of them."""
        from nnlint.probes.dependence.padding_runs import most_padded, take_samples

        if number is None:
            return most_padded(self._session.setup.inputs, self._leaves, self.sequences, self._samples)
        index = self.sequences[number].lengths.argsort(stable=True)[:_COMPARED]
        index = index.repeat(2) if len(index) == 1 else index
        return take_samples(self._session.setup.inputs, self._leaves, self.sequences, self._samples, index)

    def measured(self, number: int) -> tuple[float | None, float | None]:
        """Changes of the outputs when the padding of one of `sequences` is cut off, and when it is filled; see `PaddingRead`."""
        return self._trimmed(number), self._refilled(number)

    def _judged(self, number: int) -> PaddingRead | None:
        from nnlint.probes.dependence.padded import flat_masks
        from nnlint.probes.dependence.padding_cause import find_cause

        session, sequence = self._session, self.sequences[number]
        trimmed, refilled = self.measured(number)
        if trimmed is not None and trimmed <= ROUNDING:
            return None
        # Cut off, padding may matter where its content does not: zeros that are counted by a mean. Before the content, its
        # length moves the positions as well, and with a fixed length there is nothing else to go by.
        if refilled is not None and refilled <= ROUNDING and (trimmed is None or sequence.at_start):
            return None
        copies = self._copies(sequence)
        if copies is None:
            return None
        own, cuts = copies.sequences[number], trimmed is not None and not sequence.at_start
        cause = session.measure(
            "search for what reads the padding",
            lambda: find_cause(session.setup, copies, own, seed=session.plan.seed, cuts=cuts),
            reads_only=True,
            attempt=_REFUSED,
        )
        if cause is None:
            return None
        flat = next(iter(flat_masks(self._leaves, self._samples)), None)
        return PaddingRead(
            name=sequence.leaf.name,
            known_by=sequence.known_by,
            given_mask=sequence.mask.name if sequence.mask is not None else None,
            given_lengths=sequence.given_lengths.name if sequence.given_lengths is not None else None,
            flat_mask=flat.name if flat is not None else None,
            trimmed=trimmed,
            refilled=refilled,
            at_start=sequence.at_start,
            share=sequence.share,
            cause=cause,
        )

    def _refilled(self, number: int) -> float | None:
        """Change of the outputs when the padding of one sequence is filled with content, comparisons kept as they were."""
        from nnlint.probes.dependence.outputs import evaluate
        from nnlint.probes.dependence.padding_packed import Unpacked
        from nnlint.probes.dependence.padding_runs import Comparisons, change, refilled

        session, chosen = self._session, self._chosen(number)
        changed = refilled(chosen, chosen.sequences[number])

        def run() -> float | None:
            outputs: list[list[torch.Tensor]] = []
            with Unpacked(chosen.unpacked), Comparisons() as comparisons:
                for inputs in (chosen.inputs, changed):
                    comparisons.begin()
                    outputs.append(evaluate(session.setup, inputs, seed=session.plan.seed))
            return change(outputs[0], outputs[1], chosen)

        found: float | None = session.measure("padding filled", run, reads_only=True, attempt=_REFUSED)
        return found

    def _copies(self, sequence: PaddedSequence) -> Chosen | None:
        """Two copies of the sample with the most padding in this sequence."""
        from nnlint.probes.dependence.padding_runs import take_samples

        lengths = sequence.lengths
        index = lengths.argmin().repeat(2)
        if int(lengths.min()) < 1 or int(lengths.min()) == sequence.length:
            return None
        return take_samples(self._session.setup.inputs, self._leaves, self.sequences, self._samples, index)


def provide(session: Session) -> PaddingStats:
    """Padding of the batch and what it does.

    Raises:
        Skip: nothing is run on real values, the forward raised, or the inputs are made up.
    """
    session.evidence("EvalStats")
    return PaddingStats(session)
