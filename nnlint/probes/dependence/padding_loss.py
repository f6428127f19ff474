"""What padded target positions contribute to the loss: their share of its gradient, and of the loss itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnlint.capture.walks import labels_among_inputs
from nnlint.finding import Skip
from nnlint.frames import is_fatal
from nnlint.probes.dependence.loss_tape import LossTape
from nnlint.probes.dependence.padded import Leaf, PaddedSequence, PadIds, find_padding
from nnlint.probes.torch_errors import one_line
from nnlint.seeding import seed_everything
from nnlint.setup.inputs.names import named_inputs
from nnlint.setup.training_setup import LABEL_KEYS
from nnlint.tensors import map_tensors, tensor_leaves

if TYPE_CHECKING:
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

#: The logit, or log-probability, of a wrong class where a prediction is made right.
_WRONG = -30.0


@dataclass(frozen=True)
class PaddingInLoss:
    """How much of the loss comes from padding.

    Attributes:
        target: name of the targets.
        known_by: how the padding was told, in words.
        value: what the padded targets hold, where they all hold the same number.
        positions: share of the target positions that are padding, the first of each sample (an end token, perhaps) left out.
        gradient: share of the gradient with respect to the outputs that is at these positions.
        loss: share of the loss that goes away when the predictions there are right; None where that cannot be had.
    """

    target: str
    known_by: str
    value: float | None
    positions: float
    gradient: float
    loss: float | None


@dataclass(frozen=True, eq=False)
class _Target:
    name: str
    rows: Tensor  # (batch, time, ...)
    padded: Tensor  # (batch, time)
    known_by: str
    time_first: bool  # the tensor itself has time first: rows of a flattened output are in that order


def padding_in_loss(session: Session, sequences: Sequence[PaddedSequence], ids: PadIds, samples: int) -> PaddingInLoss:
    """Measure it.

    Raises:
        Skip: no padded target positions, no loss, or no output that has these positions.
    """
    setup = session.setup
    if setup.targets_assumed:
        raise Skip("needs real targets; nnlint generated them")
    targets = list(_padded_targets(target_leaves(session), sequences, ids, samples))
    if not targets:
        raise Skip(
            "no padding among the targets: no target has a value for each position, or all samples are of one length"
        )

    def run() -> PaddingInLoss:
        return _measured(setup, targets, seed=session.plan.seed)

    found: PaddingInLoss = session.measure("padding in the loss", run, reads_only=True)
    return found


# -------------------------------------------------------------------- padded targets


def target_leaves(session: Session) -> tuple[Leaf, ...]:
    """The targets: those of the loss, and the labels among the inputs of a model with a loss of its own."""
    setup = session.setup
    own = [("targets" + "".join(f"[{key!r}]" for key in path), tensor) for path, tensor in tensor_leaves(setup.targets)]
    labels = labels_among_inputs(session.evidence("Graph")) if setup.targets is None else frozenset()
    given = [(name, tensor) for name, tensor in named_inputs(setup) if name in LABEL_KEYS or name in labels]
    known = {id(tensor) for _, tensor in own}
    if setup.loss is None and setup.own_loss is None and given:
        own, known = [], set()
    pairs = [*own, *((name, tensor) for name, tensor in given if id(tensor) not in known)]
    return tuple(Leaf(name, index, tensor) for index, (name, tensor) in enumerate(pairs))


def _padded_targets(
    leaves: Sequence[Leaf], sequences: Sequence[PaddedSequence], ids: PadIds, samples: int
) -> Iterator[_Target]:
    for leaf in leaves:
        tensor, time_first = _unflattened(leaf.tensor, sequences, samples)
        # Under this name, since a tensor called labels is no content of the inputs.
        own = find_padding((Leaf("targets", leaf.index, tensor),), samples, ids)
        for found in own[:1]:
            rows = tensor.movedim((found.batch_axis, found.time_axis), (0, 1))
            padded = _but_edge(~found.valid, at_start=found.at_start)
            if bool(padded.any()):
                yield _Target(leaf.name, rows, padded, found.known_by, time_first or found.batch_axis == 1)
        for sequence in () if own else sequences:
            layout = (0, 1) if not time_first else (1, 0)
            if tensor.dim() < 2 or tensor.dim() > 3:
                continue
            rows = tensor.movedim(layout, (0, 1))
            if rows.shape[:2] == sequence.valid.shape:
                padded = _but_edge(~sequence.valid, at_start=sequence.at_start)
                yield _Target(leaf.name, rows, padded, f"{sequence.known_by}, of {sequence.leaf.name}", time_first)
                break


def _unflattened(tensor: Tensor, sequences: Sequence[PaddedSequence], samples: int) -> tuple[Tensor, bool]:
    """Targets in one row, one for each position, as (batch, time), or (time, batch) where the inputs are so."""
    for sequence in sequences:
        if tensor.dim() == 1 and tensor.numel() == sequence.valid.numel() != samples:
            shape = sequence.valid.shape
            return (tensor.reshape(shape[::-1]), True) if sequence.batch_axis == 1 else (tensor.reshape(shape), False)
    return tensor, False


def _but_edge(padded: Tensor, *, at_start: bool) -> Tensor:
    """Without the padded position of each sample next to its content.

    After the content it may be what ends the sequence; before it, a model that shifts the labels itself predicts the first one there.
    """
    ordered = padded.flip(1) if at_start else padded
    kept = ordered & (ordered.int().cumsum(1) > 1)
    return kept.flip(1) if at_start else kept


# -------------------------------------------------------------------- what they contribute


def _measured(setup: TrainingSetup, targets: list[_Target], *, seed: int) -> PaddingInLoss:
    setup.model.eval()
    seed_everything(seed)
    tape = LossTape()
    try:
        with torch.enable_grad():
            with tape:
                output, loss = setup.run()
            if loss is not None and setup.own_loss is None and setup.loss is not None and setup.targets is not None:
                # One output may be made of another (a refined spectrogram): only what the loss itself asks of each counts.
                output, tape = map_tensors(_cut, output), LossTape()
                with tape:
                    loss = setup.compute_loss(output)
            if loss is None or loss.numel() != 1 or not loss.requires_grad:
                raise Skip("no loss to differentiate")
            for target in [*targets, *map(_without_first, targets)]:
                for tensor in _with_positions(output, loss, tape, target):
                    (gradient,) = torch.autograd.grad(loss, [tensor], allow_unused=True, retain_graph=True)
                    if gradient is not None:
                        return _judged(setup, target, output, loss, tensor, gradient)
    except Exception as error:
        if is_fatal(error) or isinstance(error, Skip):
            raise
        raise Skip(f"the loss could not be differentiated in evaluation mode: {one_line(error)}") from error
    raise Skip("no output has a value for each position of the padded targets")


def _cut(tensor: Tensor) -> Tensor:
    """The same values as a leaf; integers and what training cannot change as they are."""
    return tensor.detach().requires_grad_() if tensor.requires_grad else tensor


def _without_first(target: _Target) -> _Target:
    """The target as a model has it that shifts its labels itself: nothing predicts the first position."""
    return replace(target, rows=target.rows[:, 1:], padded=target.padded[:, 1:])


def _with_positions(output: Any, loss: Tensor, tape: LossTape, target: _Target) -> Iterator[Tensor]:
    """Tensors near the loss that have the positions of the target: outputs of the model, then what losses were given."""
    shape = target.padded.shape
    given = [tensor for _, tensor in tensor_leaves(output)]
    near = [*given, *(call.prediction for call in tape.calls)]
    floating = [tensor for tensor in near if tensor is not loss and tensor.requires_grad and tensor.is_floating_point()]
    return (tensor for tensor in floating if by_position(tensor, shape, time_first=target.time_first) is not None)


def by_position(tensor: Tensor, shape: Sequence[int], *, time_first: bool = False) -> Tensor | None:
    """The tensor as (batch, time, ...): from any order of these axes, or from rows that are one for each position.

    Args:
        tensor: an output, a prediction or targets.
        shape: (batch, time).
        time_first: rows come time by time, and so do axes of one size.
    """
    batch, time = shape
    sizes = dict(enumerate(tensor.shape))
    leading = ((1, 0), (0, 1)) if time_first else ((0, 1), (1, 0))
    for first, second in (*leading, (0, tensor.dim() - 1), (0, 2)):
        if first != second and (sizes.get(first), sizes.get(second)) == (batch, time):
            return tensor.movedim((first, second), (0, 1))
    if tensor.dim() in (1, 2) and tensor.shape[0] == batch * time:
        rest = tensor.shape[1:]
        return tensor.reshape(time, batch, *rest).transpose(0, 1) if time_first else tensor.reshape(batch, time, *rest)
    return None


def _judged(
    setup: TrainingSetup, target: _Target, output: Any, loss: Tensor, tensor: Tensor, gradient: Tensor
) -> PaddingInLoss:
    rows = by_position(gradient, target.padded.shape, time_first=target.time_first)
    sizes = rows.abs().double().flatten(2).sum(2).cpu() if rows is not None and rows.dim() > 2 else None
    sizes = rows.abs().double().cpu() if sizes is None and rows is not None else sizes
    if sizes is None or not bool(sizes.isfinite().all()) or float(sizes.sum()) == 0.0:
        raise Skip("the gradient of the loss with respect to the outputs is zero or not finite")
    held = target.rows[target.padded.to(target.rows.device)].unique()
    return PaddingInLoss(
        target.name,
        target.known_by,
        float(held[0]) if len(held) == 1 else None,
        float(target.padded.double().mean()),
        float(sizes[target.padded].sum() / sizes.sum()),
        _share_of_loss(setup, target, output, loss) if tensor is output else None,
    )


def _share_of_loss(setup: TrainingSetup, target: _Target, output: Tensor, loss: Tensor) -> float | None:
    """Share of the loss that goes away when the padded positions of an output of logits are predicted right."""
    rows = by_position(output.detach().clone(), target.padded.shape, time_first=target.time_first)
    if (
        rows is None
        or rows.dim() != 3
        or target.rows.dim() != 2
        or target.rows.is_floating_point()
        or setup.loss is None
    ):
        return None
    padded = target.padded.to(rows.device)
    labels = target.rows.to(rows.device)[padded]
    if not len(labels) or int(labels.min()) < 0 or int(labels.max()) >= rows.shape[2] or float(loss) <= 0.0:
        return None
    right = torch.full((len(labels), rows.shape[2]), _WRONG, dtype=rows.dtype, device=rows.device)
    rows[padded] = right.scatter(1, labels[:, None].long(), 0.0)
    if not rows.data_ptr():
        return None
    with torch.no_grad():
        left = setup.compute_loss(_as_given(rows, output, target))
    return max(0.0, 1.0 - float(left) / float(loss)) if left is not None else None


def _as_given(rows: Tensor, output: Tensor, target: _Target) -> Tensor:
    """(batch, time, classes) in the layout of the output."""
    batch, time = target.padded.shape
    if output.dim() == 3:
        orders = ((0, 1), (1, 0), (0, 2))
        first, second = next(pair for pair in orders if (output.shape[pair[0]], output.shape[pair[1]]) == (batch, time))
        return rows.movedim((0, 1), (first, second))
    return (rows.transpose(0, 1) if target.time_first else rows).reshape(output.shape)
