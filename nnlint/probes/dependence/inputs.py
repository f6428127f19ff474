"""Evidence `Mixing.inputs`: which inputs, and which of their features, the output depends on.

One backward (`input_gradients.py`) settles almost every model. What has no gradient is changed and run again, in evaluation mode,
then through the training loss, then after a few updates, before it is called ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from nnlint.capture.walks import labels_among_inputs
from nnlint.finding import OutOfBudget, Skip
from nnlint.probes.dependence.input_gradients import InputGradients
from nnlint.probes.dependence.outputs import evaluate, relative_difference, spread
from nnlint.probes.longer.forward_loss import sparing_gradients
from nnlint.probes.updates.after_updates import second_look
from nnlint.samples import batch_axis, rolled, sample_count
from nnlint.seeding import seed_everything
from nnlint.setup.inputs.names import named_inputs
from nnlint.tensors import is_dense, map_tensors, tensor_leaves

if TYPE_CHECKING:
    from nnlint.probes.session import Session

#: Smaller relative changes of the output are rounding.
NOTHING = 1e-7
#: Share of an axis that strided kernels leave over at most; no calibration: more is looked at once more after a few updates.
_LEFT_OVER = 0.25
#: Positions at which it is tried whether an output depends on the input beside it.
_TRIED = 6
_CHUNK_LIMIT = 1 << 24  # entries of an input above which its features are not looked at one by one


@dataclass(frozen=True)
class IgnoredFeatures:
    """Slices of one input along one axis that have no influence.

    Attributes:
        axis: of the input; never that of the samples.
        indices: the positions along it.
        size: of the axis.
    """

    axis: int
    indices: tuple[int, ...]
    size: int

    @property
    def at_end(self) -> bool:
        """Whether they are the last positions of the axis: what a strided kernel leaves over."""
        return self.indices == tuple(range(self.size - len(self.indices), self.size))


@dataclass(frozen=True)
class InputInfluence:
    """What one input tensor does to the output.

    Attributes:
        name: of the input.
        matters: whether changing it changed anything.
        is_mask: a tensor whose name says mask.
        constant: it could not be changed (all values equal), so that nothing can be said.
        shape: of the tensor.
        ignored: features without influence, of a tensor that matters.
        updated: a tensor that does not matter was looked at again after a few updates; False where the model has nothing to update.
        unknown: why it cannot be told whether the tensor, or some of its features, matter; empty where it can.
    """

    name: str
    matters: bool
    is_mask: bool
    constant: bool
    shape: tuple[int, ...]
    ignored: tuple[IgnoredFeatures, ...] = ()
    updated: bool = True
    unknown: str = ""


def _reached(inputs: Any) -> set[int]:
    """The tensors that can be changed: those inside objects of other classes stay as they are."""
    found: set[int] = set()

    def note(tensor: torch.Tensor) -> torch.Tensor:
        found.add(id(tensor))
        return tensor

    map_tensors(note, inputs)
    return found


def _out_of_reach(name: str, tensor: torch.Tensor) -> InputInfluence:
    unknown = "it is inside an object that nnlint does not rebuild"
    shape, is_mask = tuple(tensor.shape), "mask" in name.lower()
    return InputInfluence(name, matters=True, is_mask=is_mask, constant=False, shape=shape, unknown=unknown)


class InputProbe:
    """Judges the inputs of a session one after the other."""

    def __init__(self, session: Session, base: list[torch.Tensor], gradients: InputGradients | None) -> None:
        self._session = session
        self._base = base
        self._gradients = gradients
        self._count = session.samples

    def run(self) -> tuple[InputInfluence, ...]:
        """The influence of every input tensor that can be changed."""
        named = list(named_inputs(self._session.setup.with_inputs(self._session.batch_inputs)))
        has_gradients = self._gradients is not None and not self._gradients.refused
        gradients = self._gradients.inputs if self._gradients is not None and has_gradients else (None,) * len(named)
        reached = _reached(self._session.batch_inputs)
        return tuple(
            self._judge(name, tensor, gradient) if id(tensor) in reached else _out_of_reach(name, tensor)
            for (name, tensor), gradient in zip(named, gradients, strict=True)
            if tensor.dim() and tensor.layout is torch.strided and _is_plain(tensor)
        )

    def _judge(self, name: str, tensor: torch.Tensor, gradient: torch.Tensor | None) -> InputInfluence:
        whole = InputInfluence(
            name, matters=True, is_mask="mask" in name.lower(), constant=False, shape=tuple(tensor.shape)
        )
        try:
            if gradient is not None and bool(gradient.any()):
                return replace(whole, ignored=() if whole.is_mask else self._features(tensor, gradient))
            if torch.equal(rolled(tensor, self._count), tensor):
                return replace(whole, constant=True)
            matters = self._matters(name, tensor, partial(self._at_other_samples, tensor))
        except OutOfBudget:
            raise
        except Skip as skip:
            return replace(whole, unknown=skip.reason)
        refused = self._gradients.refused if self._gradients is not None else ""
        by_feature = tensor.is_floating_point() and not whole.is_mask
        return replace(
            whole, matters=matters, updated=self._can_update, unknown=refused if matters and by_feature else ""
        )

    def _at_other_samples(self, tensor: torch.Tensor, leaf: torch.Tensor) -> torch.Tensor:
        return rolled(leaf, self._count if leaf is tensor else sample_count(self._session.setup))

    @property
    def _can_update(self) -> bool:
        return any(parameter.requires_grad for parameter in self._session.setup.model.parameters())

    # ------------------------------------------------------------ changing and looking

    def _matters(
        self, name: str, tensor: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor], *, again: bool = True
    ) -> bool:
        """Whether the change shows in the outputs or, looking `again`, in the training loss or after a few updates.

        Raises:
            Skip: the model does not take the change, cannot be updated although it has what to update, or returns nothing to compare.
        """
        session, label = self._session, f"influence of {name}"
        refused = f"the model does not take {name} of other samples"
        if session.measure(label, lambda: self._evaluated(tensor, change) > NOTHING, attempt=refused):
            return True
        if not again:
            return False
        full = self._in_whole_batch(tensor)
        if full is not None and session.measure(label, lambda: self._trained(full, change) > NOTHING, attempt=refused):
            return True
        if not self._can_update:
            return False
        label = f"influence of {name} after steps"
        seen = second_look(session, label, lambda: self._evaluated(tensor, change, fresh=True), _is_seen) > NOTHING
        if not seen:
            self._require_outputs_that_tell(name)
        return seen

    def _require_outputs_that_tell(self, name: str) -> None:
        """Skip where swapped samples could not show: no outputs, or labels beside outputs that are the same for all samples."""
        if not self._base:
            raise Skip("evaluation mode returns no numbers for this batch (a detector that is not sure of any box)")
        apart = spread(self._base, self._count)
        if apart is not None and apart <= NOTHING and name in labels_among_inputs(self._session.evidence("Graph")):
            raise Skip("the outputs are the same for all samples at first, so that their labels can be swapped")

    def _evaluated(
        self, tensor: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor], *, fresh: bool = False
    ) -> float:
        setup, seed = self._session.setup, self._session.plan.seed
        inputs = self._session.batch_inputs
        changed = map_tensors(lambda leaf: change(leaf) if leaf is tensor else leaf, inputs)
        base = evaluate(setup, inputs, seed=seed) if fresh else self._base
        return relative_difference(base, evaluate(setup, changed, seed=seed))

    def _trained(self, tensor: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> float:
        """Relative change of the training-mode loss, or of the outputs where there is none, on the whole batch."""
        inputs = self._session.setup.inputs
        changed = map_tensors(lambda leaf: change(leaf) if leaf is tensor else leaf, inputs)
        before, after = self._training_values(inputs), self._training_values(changed)
        return relative_difference(before, after)

    def _training_values(self, inputs: Any) -> list[torch.Tensor]:
        session = self._session
        session.guard.rewind()
        setup = session.setup.with_inputs(inputs)
        setup.model.train()

        def run() -> tuple[Any, torch.Tensor | None]:
            seed_everything(session.plan.seed)
            return setup.run()

        output, loss = sparing_gradients(run)
        values = [tensor for _, tensor in tensor_leaves(output if loss is None else loss)]
        return [tensor.detach() for tensor in values if tensor.is_floating_point() and tensor.numel()]

    def _in_whole_batch(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The tensor of the whole batch that this one was cut from."""
        session = self._session
        cut = [leaf for _, leaf in named_inputs(session.setup.with_inputs(session.batch_inputs))]
        whole = [leaf for _, leaf in named_inputs(session.setup)]
        return next((full for full, part in zip(whole, cut, strict=True) if part is tensor), None)

    # ------------------------------------------------------------ features

    def _features(self, tensor: torch.Tensor, gradient: torch.Tensor) -> tuple[IgnoredFeatures, ...]:
        if tensor.numel() > _CHUNK_LIMIT or self._gradients is None:
            return ()
        axis = batch_axis(tensor, self._count)
        found = []
        for other in range(tensor.dim()):
            if other == axis or tensor.shape[other] < 2:
                continue
            untouched = ~_any_along(gradient != 0, other) & _any_along(tensor != 0, other)
            if bool(untouched.any()) and not bool(untouched.all()) and not self._is_masked(tensor, other):
                found.append(IgnoredFeatures(other, _positions(untouched), tensor.shape[other]))
        return tuple(item for item in found if not self._features_matter(tensor, item))

    def _is_masked(self, tensor: torch.Tensor, axis: int) -> bool:
        """Whether another input says which positions along the axis count: what it hides is ignored rightly."""
        for name, other in named_inputs(self._session.setup.with_inputs(self._session.batch_inputs)):
            if other is tensor or not other.dim():
                continue
            if ("mask" in name.lower() and tensor.shape[axis] in other.shape) or "len" in name.lower():
                return True
        return False

    def _features_matter(self, tensor: torch.Tensor, item: IgnoredFeatures) -> bool:
        """Disturb exactly these features: a dead unit or a maximum elsewhere hides them from a gradient only."""
        generator = torch.Generator().manual_seed(self._session.plan.seed)
        scale = float(zeroed_std(tensor))
        noise = {
            shape: torch.randn(shape, generator=generator) * scale
            for shape in {tuple(tensor.shape), *(tuple(t.shape) for t in self._whole(tensor))}
        }

        def disturb(leaf: torch.Tensor) -> torch.Tensor:
            changed = leaf.clone()
            index = torch.tensor(item.indices, device=leaf.device)
            moved = noise[tuple(leaf.shape)].to(leaf).index_select(item.axis, index)
            return changed.index_add_(item.axis, index, moved)

        # What a strided kernel leaves over at the border is a matter of sizes: no update brings it back.
        left_over = item.at_end and len(item.indices) <= _LEFT_OVER * item.size
        return self._matters("features", tensor, disturb, again=not left_over) or self._is_last_in_order(tensor, item)

    def _is_last_in_order(self, tensor: torch.Tensor, item: IgnoredFeatures) -> bool:
        """Whether no output depends on the input at its own position: the last one in such an order has none that depends on it.

        An autoregressive density: each value is predicted from those before it.
        """
        if len(item.indices) > 1 or not any(output.shape == tensor.shape for output in self._base):
            return False
        others = [place for place in range(item.size) if place not in item.indices]
        chosen = others[:: max(1, len(others) // _TRIED)][:_TRIED]
        label = "influence of features on their own outputs"
        return bool(self._session.measure(label, lambda: all(self._spares_itself(tensor, item.axis, place) for place in chosen)))

    def _spares_itself(self, tensor: torch.Tensor, axis: int, place: int) -> bool:
        """Whether a change at a position leaves the outputs at that position as they are."""
        setup, seed = self._session.setup, self._session.plan.seed

        def shift(leaf: torch.Tensor) -> torch.Tensor:
            if leaf is not tensor:
                return leaf
            changed = leaf.clone()
            changed.select(axis, place).add_(zeroed_std(leaf).to(leaf))
            return changed

        found = evaluate(setup, map_tensors(shift, self._session.batch_inputs), seed=seed)
        pairs = [(one, two) for one, two in zip(self._base, found, strict=True) if one.shape == tensor.shape]
        return all(torch.equal(one.select(axis, place), two.select(axis, place)) for one, two in pairs)

    def _whole(self, tensor: torch.Tensor) -> Iterator[torch.Tensor]:
        full = self._in_whole_batch(tensor)
        if full is not None:
            yield full


def zeroed_std(tensor: torch.Tensor) -> torch.Tensor:
    """Standard deviation of the values, 1 for a constant tensor."""
    std = tensor.float().nan_to_num().std(unbiased=False)
    return std if bool(std > 0) else torch.ones(())


def _is_seen(change: float) -> bool:
    return change > NOTHING


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.numel() > 0 and is_dense(tensor) and not tensor.is_complex()


def _any_along(flags: torch.Tensor, axis: int) -> torch.Tensor:
    return flags.movedim(axis, 0).reshape(flags.shape[axis], -1).any(dim=1)


def _positions(flags: torch.Tensor) -> tuple[int, ...]:
    return tuple(int(index) for index in flags.nonzero().flatten())
