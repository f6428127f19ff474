"""Whether the order of a sequence matters: the positions of the inputs are shuffled, those of the outputs shuffled back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnlint.probes.dependence.outputs import evaluate, relative_difference, spread
from nnlint.probes.dependence.patches import Patches, PatchShuffle, are_placed, patches_of
from nnlint.probes.longer.loop import trainable
from nnlint.probes.updates.after_updates import second_look
from nnlint.setup.inputs.names import named_inputs
from nnlint.tensors import is_dense, map_tensors, tensors_in

if TYPE_CHECKING:
    from nnlint.probes.session import Session

#: Sums in another order differ by rounding.
ORDER_BLIND = 1e-5
#: Deviation of the values that tables of zeros get: that of the usual initialization of positions.
_DRAWN = 0.02


@dataclass(frozen=True)
class OrderInfluence:
    """How much the output changes when the positions of the sequence are shuffled.

    Attributes:
        change: relative to the largest output; outputs with an axis of positions are shuffled back first.
        length: of the sequence.
        tokens: whether the sequence is one of integers.
        width: numbers a position has, 1 for tokens.
        patches: whether the positions are patches of an image or a signal.
        labelled: whether there is a label for each position.
    """

    change: float
    length: int
    tokens: bool
    width: int
    patches: bool = False
    labelled: bool = False


def order_influence(session: Session, base: list[torch.Tensor]) -> OrderInfluence | None:
    """Shuffle and compare; again after a few updates where nothing changed (relative positions that start at zero)."""
    patches = patches_of(session.evidence("Graph"))
    if patches is not None:
        return _of_patches(session, base, patches)
    found = _sequence(session)
    if found is None:
        return None
    length, sequence, moved = found
    generator = torch.Generator().manual_seed(session.plan.seed)
    # The first position stays: where it is the one read out (a class token), another token there would be another question.
    rest = 1 + torch.randperm(length - 1, generator=generator)
    if torch.equal(rest, torch.arange(1, length)):
        rest = rest.flip(0)
    order = torch.cat([torch.zeros(1, dtype=rest.dtype), rest])
    shuffled = map_tensors(lambda t: _taken(t, order, 1) if id(t) in moved else t, session.batch_inputs)
    seen = _change(session, base, shuffled, lambda tensor: _along(tensor, order, length))
    if seen is None or (
        seen <= ORDER_BLIND and session.measure("order pass", lambda: _are_apart(session, found, base))
    ):
        return None
    width = 1 if sequence.dim() == 2 else sequence.shape[2]
    labelled = any(target.shape[1:2] == (length,) for target in _targets(session))
    return OrderInfluence(seen, length, tokens=not sequence.is_floating_point(), width=width, labelled=labelled)


def _targets(session: Session) -> list[torch.Tensor]:
    setup = session.setup
    return [] if setup.targets_assumed else [tensor for tensor in tensors_in(setup.targets) if is_dense(tensor)]


def _of_patches(session: Session, base: list[torch.Tensor], patches: Patches) -> OrderInfluence | None:
    if are_placed(session.evidence("Graph"), patches):
        return None
    shuffle = PatchShuffle(session, patches)
    seen = _change(session, base, shuffle.inputs, shuffle.of_output)
    return None if seen is None else OrderInfluence(seen, len(patches), tokens=False, width=0, patches=True)


def _change(
    session: Session, base: list[torch.Tensor], shuffled: Any, in_order: Callable[[torch.Tensor], torch.Tensor]
) -> float | None:
    """What the other order changes, at once, after a few updates, or once tables of zeros hold other values.

    None where the outputs are the same for all samples.
    """
    setup, seed = session.setup, session.plan.seed

    def change(plain: list[torch.Tensor]) -> float | None:
        if (spread(plain, session.samples) or 0.0) <= ORDER_BLIND:
            return None  # outputs that are the same for all samples say nothing about the order
        return relative_difference([in_order(tensor) for tensor in plain], evaluate(setup, shuffled, seed=seed))

    def look() -> float | None:
        return change(evaluate(setup, session.batch_inputs, seed=seed))

    refused = "the model does not take its sequence in another order"
    seen: float | None = session.measure("order pass", lambda: change(base), attempt=refused)
    if seen is not None and seen > ORDER_BLIND:
        return seen
    seen = second_look(session, "order after steps", look, lambda found: (found or 0.0) > ORDER_BLIND)
    if seen is None or seen > ORDER_BLIND:
        return seen
    drawn: float | None = session.measure("order with positions drawn", lambda: look() if _draw_zeros(session) else seen)
    return drawn


def _draw_zeros(session: Session) -> bool:
    """Draw the trained tables that are all zero: positions may start there, and their first updates are alike. Whether there are any."""
    generator = torch.Generator().manual_seed(session.plan.seed)
    with torch.no_grad():
        zeros = [table for table in trainable(session.setup.model) if table.dim() > 1 and not bool(table.any())]
        for table in zeros:
            table.copy_(_DRAWN * torch.randn(table.shape, generator=generator))
    return bool(zeros)


def _are_apart(session: Session, found: tuple[int, torch.Tensor, frozenset[int]], base: list[torch.Tensor]) -> bool:
    """Whether each position of the outputs depends on its own alone: what nothing mixes are samples (time-major data), no sequence.

    One in the middle is changed, which reaches later ones under a causal mask, and earlier ones under the reverse.
    """
    length, _, moved = found
    middle = length // 2

    def changed(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in moved:
            return tensor
        copy = tensor.clone()
        copy[:, middle] = tensor[:, middle].roll(1, dims=0)
        return copy

    after = evaluate(session.setup, map_tensors(changed, session.batch_inputs), seed=session.plan.seed)
    rest = torch.tensor([index for index in range(length) if index != middle])
    if len(after) != len(base) or not all(_has_positions(tensor, length) for tensor in base):
        return False
    others = [(_along(one, rest, length), _along(two, rest, length)) for one, two in zip(base, after, strict=True)]
    still = relative_difference([one for one, _ in others], [two for _, two in others])
    return still <= ORDER_BLIND < relative_difference(base, after)


def _has_positions(tensor: torch.Tensor, length: int) -> bool:
    return tensor.dim() >= 3 and length in tensor.shape[1:]


def _sequence(session: Session) -> tuple[int, torch.Tensor, frozenset[int]] | None:
    """Length of the one sequence axis, the tensor that has it, and the ids of all tensors to be shuffled."""
    named = list(named_inputs(session.setup.with_inputs(session.batch_inputs)))
    sequences = [
        (name, tensor)
        for name, tensor in named
        if tensor.shape[:1] == (session.samples,) and tensor.dim() == (3 if tensor.is_floating_point() else 2)
    ]
    # A position given as an input moves with its token only where the model is told so: leave it in place.
    moving = [(name, tensor) for name, tensor in sequences if not _are_positions(name, tensor)]
    # The label of each position moves with it, and so does its mask: the model's own loss is among the outputs.
    content = [tensor for name, tensor in moving if not any(word in name.lower() for word in ("mask", "label"))]
    lengths = {tensor.shape[1] for tensor in content}
    if len(lengths) != 1 or min(lengths) < 3:
        return None
    length = lengths.pop()
    return length, content[0], frozenset(id(tensor) for _, tensor in moving if tensor.shape[1] == length)


def _are_positions(name: str, tensor: torch.Tensor) -> bool:
    if "position" in name.lower():
        return True
    return not tensor.is_floating_point() and tensor.shape[1] > 1 and bool((tensor[:, 1:] > tensor[:, :-1]).all())


def _taken(tensor: torch.Tensor, order: torch.Tensor, axis: int) -> torch.Tensor:
    return tensor.index_select(axis, order.to(tensor.device))


def _along(tensor: torch.Tensor, order: torch.Tensor, length: int) -> torch.Tensor:
    """The output with its positions shuffled like the inputs; as it is where it has none."""
    axis = next((axis for axis in range(1, tensor.dim()) if tensor.shape[axis] == length), None)
    return tensor if axis is None or tensor.dim() < 3 else _taken(tensor, order, axis)
