"""Which backwards a gradient holds, decided by its values: however a script clears or replaces gradients, it is seen here."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from torch import Tensor

from nnlint.capture.torch_private import norms, version
from nnlint.observation.content import held_part, norm_of
from nnlint.observation.journal import Held, Keys
from nnlint.observation.things import Known, Things
from nnlint.tensors import is_strided


def _mark(gradient: Tensor) -> tuple[weakref.ref[Tensor], int | None]:
    """What tells another gradient or another content: torch counts the writes of every in-place operation, `foreach` included."""
    return weakref.ref(gradient), version(held_part(gradient))


def _is_seen(known: Known, gradient: Tensor) -> bool:
    """Whether nothing was written to the gradient since it was last looked at: asked for each parameter six times an iteration."""
    if known.seen is None:
        return False
    reference, count = known.seen
    if reference() is not gradient:
        return False
    return count == (version(gradient) if type(gradient) is Tensor else version(held_part(gradient)))


class Gradients:
    """The holdings of all parameters."""

    def __init__(self, things: Things) -> None:
        self._things = things
        #: Index of the last `autograd.grad`: what a script assigns to `.grad` afterwards comes from there.
        self.computed: int | None = None

    def note_cleared(self) -> Held:
        """Find the gradients that became None or zero since they were last looked at; what they held is returned and forgotten."""
        lost = Held()
        suspects: list[tuple[Known, Tensor]] = []
        for known, parameter in self._things.alive():
            gradient = parameter.grad
            if gradient is None:
                if known.held:
                    lost[known.key] = known.held
                known.held, known.seen = (), None
            elif not _is_seen(known, gradient):
                self._replaced(known, gradient)
                known.seen = _mark(gradient)
                suspects.append((known, gradient))
        for known in _zero(suspects):
            if known.held:
                lost[known.key] = known.held
            known.held = ()
        return lost

    def _replaced(self, known: Known, gradient: Tensor) -> None:
        """A new gradient tensor after `autograd.grad` holds what that computed."""
        is_other = known.seen is None or known.seen[0]() is not gradient
        if is_other and self.computed is not None and (not known.held or max(known.held) < self.computed):
            known.held = (self.computed,)

    def note_filled(self, backward: int) -> Keys:
        """The parameters whose gradient changed since `note_cleared`: the backward with this index filled them."""
        filled = set()
        for known, parameter in self._things.alive():
            gradient = parameter.grad
            if gradient is not None and not _is_seen(known, gradient):
                known.seen = _mark(gradient)
                if backward not in known.held:
                    known.held = (*known.held, backward)
                filled.add(known.key)
        return Keys(filled)

    def holding(self) -> Held:
        """What every gradient holds now."""
        return Held({known.key: known.held for known, _ in self._things.alive() if known.held})


class GradientNorm:
    """The 2-norm over some gradients, measured again only where one of them was replaced or written to since."""

    def __init__(self) -> None:
        self._marks: list[tuple[weakref.ref[Tensor], int | None]] = []
        self._norm = 0.0

    def of(self, tensors: Iterable[Tensor]) -> float:
        """The norm as it is now; NaN where torch cannot tell."""
        given = list(tensors)
        is_known = len(given) == len(self._marks) and all(
            reference() is tensor and count is not None and count == version(held_part(tensor))
            for tensor, (reference, count) in zip(given, self._marks, strict=True)
        )
        if not is_known:
            self._marks = [_mark(tensor) for tensor in given]
            self._norm = norm_of(given)
        return self._norm


def _zero(suspects: list[tuple[Known, Tensor]]) -> list[Known]:
    """Those whose gradient is zero everywhere."""
    plain = [(known, gradient) for known, gradient in suspects if is_strided(gradient) and gradient.numel()]
    if not plain:
        return []
    lengths = norms([gradient.detach() if gradient.requires_grad else gradient for _, gradient in plain])
    # A norm of tiny numbers is zero as well: their squares are.
    empty = [pair for pair, length in zip(plain, lengths, strict=True) if float(length) == 0.0]
    return [known for known, gradient in empty if not bool(gradient.any())]
