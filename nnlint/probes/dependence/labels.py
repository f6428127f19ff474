"""Evidence `SequenceLabels`: targets that repeat an input, and which positions of that input the predictions of them see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnlint.finding import Skip
from nnlint.frames import is_fatal
from nnlint.kinds import CLASS_LOSSES
from nnlint.probes.dependence.copies import POSSIBLE, Copy, copy_of
from nnlint.probes.dependence.loss_tape import LossTape, TapedLoss
from nnlint.probes.dependence.padded import Leaf
from nnlint.probes.dependence.padding_loss import by_position, target_leaves
from nnlint.probes.dependence.padding_runs import replace_leaves
from nnlint.probes.loss_response.caller import Refused, loss_caller
from nnlint.probes.torch_errors import one_line
from nnlint.samples import batch_axis, batch_layout
from nnlint.seeding import seed_everything
from nnlint.setup.inputs.names import named_inputs
from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from nnlint.capture.op import Op
    from nnlint.probes.evaluation.first_difference import Difference
    from nnlint.probes.session import Session

#: Larger changes of a prediction, relative to the largest, are real.
INFLUENCE = 1e-5


@dataclass(frozen=True, eq=False)
class CopiedLabels:
    """Targets that repeat an input, and what the predictions of them depend on.

    Attributes:
        input: name of the input.
        loss: the loss that compares the predictions with them; empty where it is none of torch's.
        tokens: whether they are ids, predicted by classes.
        shift: positions from that of an output to that which it predicts: 1 for the next token.
        position: the position that was changed.
        length: of the input.
        own: change of the prediction of that position when the input there changes, relative to the largest prediction.
        later: the same when the input after it changes.
        beyond: the same when the input after the position of the output changes; `later` unless the output comes after what it predicts.
        before: the same when the input right before it changes.
        earlier: the same when the input before that changes.
        op: where later inputs first reach earlier positions; None where none do.
        cut: outputs before the first one that the loss compares: it shifts them.
        by_vector: they do by one vector for the whole sequence that layers make, as in an autoencoder.
        counted: the ids among the targets that count; empty for numbers.
        selected: the loss compares entries that were selected from outputs and targets: which shift it makes is not known.
        given: the ids of the input after its first position, by row.
    """

    input: str
    loss: str
    tokens: bool
    shift: int
    position: int
    length: int
    own: float
    later: float
    beyond: float
    before: float
    earlier: float
    op: Op | None
    cut: int
    by_vector: bool
    counted: frozenset[int]
    selected: bool
    given: Tensor = field(repr=False)


@dataclass(frozen=True, eq=False)
class _Predicted:
    """A copy with the number of its loss call (None: the model's output itself) and its input.

    `chosen` holds the ids that loss calls compare where they were selected from the copy; None where a call compares the copy.
    """

    leaf: Leaf
    time_axis: int
    values: Tensor
    copy: Copy
    call: int | None
    kind: str
    chosen: frozenset[int] | None = None


class SequenceLabels:
    """Targets that repeat an input; measured once, in the session's state guard."""

    def __init__(self, session: Session) -> None:
        setup = session.setup
        if setup.inputs is None or setup.inputs_assumed:
            raise Skip("needs a real batch; nnlint generated the inputs")
        if setup.targets_assumed:
            raise Skip("needs real targets; nnlint generated them")
        self._session = session
        self._leaves = tuple(Leaf(name, index, tensor) for index, (name, tensor) in enumerate(named_inputs(setup)))
        if not self._may_be_copies():
            raise Skip("the targets are not a copy of an input")

    def _may_be_copies(self) -> bool:
        """Whether the data alone, or a loss of its own, leave it open; no forward is run for anything else."""
        setup = self._session.setup
        targets = [leaf.tensor for leaf in target_leaves(self._session)]
        found = any(
            copy_of(rows, target, same=POSSIBLE) is not None for _, _, rows in self._sequences() for target in targets
        )
        return found or (setup.own_loss is not None and any(True for _ in self._sequences()))

    def _sequences(self) -> Iterator[tuple[Leaf, int, Tensor]]:
        """Inputs along time, with the axis of time, as (batch, time) or (batch, time, features)."""
        samples = batch_layout(self._session.setup).samples
        for leaf in self._leaves:
            tensor = leaf.tensor
            plain = tensor.layout is torch.strided and tensor.dtype is not torch.bool and not tensor.is_complex()
            if not plain or leaf.name.startswith(("mask", "position")):
                continue
            axis = batch_axis(tensor, samples)
            if axis is None or tensor.dim() not in (2, 3) or samples < 2:
                continue
            for time in (1 - axis, *((2,) if tensor.dim() == 3 and axis == 0 else ())):
                if tensor.shape[time] >= 4:
                    yield leaf, time, tensor.movedim((axis, time), (0, 1))

    # ------------------------------------------------------------ runs

    def _predictions(
        self, changed: dict[int, Tensor]
    ) -> tuple[list[tuple[str, Tensor, Tensor, int | None]], list[Tensor]]:
        """(loss, prediction, target, ignored label) of every loss call, and the outputs, with some inputs replaced."""
        setup, seed = self._session.setup, self._session.plan.seed
        inputs = replace_leaves(setup.inputs, self._leaves, changed) if changed else setup.inputs
        setup.model.eval()
        seed_everything(seed)
        tape = LossTape()
        try:
            with torch.no_grad(), tape:
                output, _ = setup.with_inputs(inputs).run()
        except Exception as error:
            if is_fatal(error):
                raise
            raise Skip(f"the loss raised in evaluation mode: {one_line(error)}") from error
        outputs = [tensor for _, tensor in tensor_leaves(output) if tensor.is_floating_point() and tensor.dim() > 1]
        return [(c.kind, _by_class(c), c.weighted_target, c.arguments.get("ignore_index")) for c in tape.calls], outputs

    @cached_property
    def copies(self) -> tuple[CopiedLabels, ...]:
        """The copies that a loss is computed on.

        Raises:
            Skip: the targets are not a copy of an input, or the loss cannot be computed in evaluation mode.
        """
        found: tuple[CopiedLabels, ...] = self._session.measure(
            "labels and what predicts them", lambda: tuple(self._measured()), reads_only=True
        )
        if not found:
            raise Skip("the targets are not a copy of an input")
        return found

    def _measured(self) -> Iterator[CopiedLabels]:
        calls, outputs = self._predictions({})
        for item in list(self._predicted(calls)) or self._selected(calls):
            made = self._judged(item, calls, outputs)
            if made is not None:
                yield made

    def _predicted(self, calls: Sequence[tuple[str, Tensor, Tensor, int | None]]) -> Iterator[_Predicted]:
        given = [(number, kind, target, ignored) for number, (kind, _, target, ignored) in enumerate(calls)]
        pairs: list[tuple[int | None, str, Tensor, int | None]] = [*given]
        if not calls and not self._shifts_itself():
            pairs = [(None, "", leaf.tensor, None) for leaf in target_leaves(self._session)]
        for number, kind, target, ignored in pairs:
            for leaf, time, values in self._sequences():
                copy = copy_of(values, target, ignored=ignored)
                if copy is not None:
                    yield _Predicted(leaf, time, values, copy, number, kind)

    def _selected(self, calls: Sequence[tuple[str, Tensor, Tensor, int | None]]) -> Iterator[_Predicted]:
        """Targets that are a copy, of which the losses on classes are given a selection: `logits[mask], labels[mask]`."""
        labels = [
            target[target != (ignored if ignored is not None else -1)]
            for kind, _, target, ignored in calls
            if kind in CLASS_LOSSES and target.dim() == 1 and not target.is_floating_point()
        ]
        chosen = frozenset(torch.cat(labels).unique().tolist()) if labels else frozenset[int]()
        for target in target_leaves(self._session) if chosen else ():
            for leaf, time, values in self._sequences():
                copy = copy_of(values, target.tensor)
                if copy is not None and leaf.tensor is not target.tensor:
                    yield _Predicted(leaf, time, values, copy, None, "", chosen)

    def _shifts_itself(self) -> bool:
        """Whether a written-out loss leaves out the output of the last step: it compares the others with the next tokens."""
        setup, output = self._session.setup, self._session.training_pass.output
        if setup.own_loss is not None or setup.loss is None or output is None:
            return False
        caller = loss_caller(setup, output, seed=self._session.plan.seed)
        for place, leaf in enumerate(caller.leaves):
            if leaf.dim() != 3 or not leaf.requires_grad:
                continue
            try:
                sizes = caller.gradient(caller.leaves, place).abs().amax(2)
            except Refused:
                continue
            if any(bool(steps[-1] == 0) and bool((steps[:-1] > 0).any()) for steps in (sizes.amax(0), sizes.amax(1))):
                return True
        return False

    # ------------------------------------------------------------ one copy

    def _judged(
        self, item: _Predicted, calls: Sequence[tuple[str, Tensor, Tensor, int | None]], outputs: Sequence[Tensor]
    ) -> CopiedLabels | None:
        base = self._rows(item, calls, outputs)
        position = _position(item)
        if base is None or position is None:
            return None
        length, cut = item.values.shape[1], _offset(base, outputs, item.copy)
        shift = item.copy.shift - cut
        changes = {
            "own": self._change(item, base, position, slice(position, position + 1)),
            "later": self._change(item, base, position, slice(position + 1, length)),
            "before": self._change(item, base, position, slice(position - 1, position)),
            "earlier": self._change(item, base, position, slice(position - 2, position - 1)),
        }
        beyond = changes["later"]
        if shift < 0:
            beyond = self._change(item, base, position, slice(position + 1 - shift, length))
        if max(changes.values()) <= INFLUENCE:
            return None  # the labels themselves, or an input that the predictions do not use
        leak = self._leak(item, position) if changes["own"] > INFLUENCE else None
        op = leak.op if leak is not None else None
        tokens = not item.values.is_floating_point() and (item.kind in CLASS_LOSSES or not item.kind)
        return CopiedLabels(
            input=item.leaf.name,
            loss=item.kind,
            tokens=tokens,
            shift=shift,
            position=position,
            length=length,
            **changes,
            beyond=beyond,
            op=op,
            cut=cut,
            by_vector=leak is not None and not _has_axis(leak.op, length, len(item.values)) and _is_learned(leak),
            counted=_counted(item) if tokens else frozenset(),
            selected=item.chosen is not None,
            given=item.values[:, 1:].detach().cpu(),
        )

    def _rows(
        self, item: _Predicted, calls: Sequence[tuple[str, Tensor, Tensor, int | None]], outputs: Sequence[Tensor]
    ) -> Tensor | None:
        """The predictions as (batch, time, ...)."""
        shape = item.copy.rows.shape[:2]
        if item.call is not None:
            return (
                by_position(calls[item.call][1], shape, time_first=item.copy.time_first)
                if item.call < len(calls)
                else None
            )
        found = (by_position(output, shape, time_first=item.copy.time_first) for output in outputs)
        return next((rows for rows in found if rows is not None), None)

    def _change(self, item: _Predicted, base: Tensor, position: int, where: slice) -> float:
        """Change of the prediction of a position when other content is put somewhere in the input."""
        if where.start >= where.stop:
            return 0.0
        calls, outputs = self._predictions({item.leaf.index: self._with_other(item, where)})
        rows = self._rows(item, calls, outputs)
        if rows is None or rows.shape != base.shape:
            return 0.0
        row = position - item.copy.shift
        counted = item.copy.counted[:, row].to(base.device)
        a, b = base[counted, row].nan_to_num(), rows[counted, row].nan_to_num()
        return float((a - b).abs().max()) / max(float(a.abs().max()), 1e-30) if a.numel() else 0.0

    def _with_other(self, item: _Predicted, where: slice) -> Tensor:
        """The input with other content at some positions: other ids that occur in it, or another sample's numbers."""
        values = item.values.clone()
        part = values[:, where]
        if values.is_floating_point():
            generator = torch.Generator().manual_seed(self._session.plan.seed)
            noise = torch.randn(part.shape, generator=generator).to(part)
            values[:, where] = part.roll(1, 0) + noise * part.std(correction=0)
        else:
            known = values.unique()
            index = torch.searchsorted(known, part.contiguous())
            values[:, where] = known[(index + 1 + len(known) // 3) % len(known)]
        axis = batch_axis(item.leaf.tensor, len(values))
        return values.movedim((0, 1), (axis or 0, item.time_axis)).contiguous()

    def _leak(self, item: _Predicted, position: int) -> Difference | None:
        """Where the input from a position on first changes what is before it."""
        from nnlint.probes.evaluation.first_difference import Run, before_time, by_entries, first_difference

        session, length = self._session, item.values.shape[1]
        changed = self._with_other(item, slice(position, length))
        inputs = replace_leaves(session.setup.inputs, self._leaves, {item.leaf.index: changed})
        one, other = (
            Run(given, session.plan.seed, session.setup.model.eval) for given in (session.setup.inputs, inputs)
        )
        return first_difference(session.setup, one, other, by_entries(before_time(position, length)))


def _by_class(call: TapedLoss) -> Tensor:
    """The prediction, classes last where there are as many of them as positions: a loss on class numbers has them on axis 1."""
    said = call.prediction
    square = said.dim() == 3 and said.shape[1] == said.shape[2]
    return said.movedim(1, 2) if square and call.kind in CLASS_LOSSES else said


def _counted(item: _Predicted) -> frozenset[int]:
    """The ids among the targets that count."""
    return item.chosen if item.chosen is not None else frozenset(item.copy.rows[item.copy.counted].unique().tolist())


def _position(item: _Predicted) -> int | None:
    """A position of the input in the middle of those that are predicted, with two before it."""
    shift, counted = item.copy.shift, item.copy.counted
    shares = counted.double().mean(0)
    fitting = [
        row + shift
        for row in range(counted.shape[1])
        if 2 <= row + shift < item.values.shape[1] and float(shares[row]) >= 0.5 * float(shares.max()) > 0.0
    ]
    return fitting[len(fitting) // 2] if fitting else None


def _offset(base: Tensor, outputs: Sequence[Tensor], copy: Copy) -> int:
    """Position of the first prediction among the outputs: 0 unless the loss cuts the first ones off."""
    batch, length = base.shape[:2]
    for output in outputs:
        for axis in (1, 2, 0):
            if axis >= output.dim() or output.shape[axis] <= length:
                continue
            rows = by_position(output, (batch, output.shape[axis]), time_first=copy.time_first)
            if rows is None or rows.shape[2:] != base.shape[2:]:
                continue
            for offset in range(min(rows.shape[1] - length, 3) + 1):
                if torch.equal(rows[:, offset : offset + length].to(base.dtype), base):
                    return offset
    return 0


def _is_learned(leak: Difference) -> bool:
    """Whether layers made the vector: an encoder's code, not a mean or a scale of the input itself."""
    return any(found.parameters for found in leak.graph.ancestors(leak.op) | {leak.op})


def _has_axis(op: Op, length: int, batch: int) -> bool:
    """Whether the op's output has an axis of positions, alone or folded together with that of the samples."""
    shape = op.shape or ()
    return (
        length * batch in shape
        or (len(shape) > 2 and any(size % length == 0 for size in shape[:-1]))
        or (len(shape) > 2 and shape[-1] == length)
    )


def provide(session: Session) -> SequenceLabels:
    """Targets that repeat an input.

    Raises:
        Skip: nothing is run on real values, the forward raised, or the targets are not a copy of an input.
    """
    session.evidence("EvalStats")
    return SequenceLabels(session)
