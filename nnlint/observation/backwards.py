"""Watches the calls of autograd's engine: `Tensor.backward`, `autograd.backward`, `autograd.grad`."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

from torch import Tensor

from nnlint.observation.content import is_single, value_contents
from nnlint.observation.events import Backward, Clear
from nnlint.observation.graphs import composition_of, is_leaf_loss, targets_of, terms_of, walk
from nnlint.observation.journal import Draft, DraftTerm, Held, Keys
from nnlint.observation.state import State, autocast_of
from nnlint.tensors import is_strided

#: A graph of more nodes is walked for the first backwards of a line only.
_LARGE = 5_000
_WALKS = 4


class Backwards:
    """Makes `Backward` events, and `Clear` events for gradients that were found cleared."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._walks: Counter[Any] = Counter()
        self._large: set[Any] = set()
        self._strangers: dict[Any, list[weakref.ref[Tensor]]] = {}

    def begins(self, losses: tuple[Tensor, ...], *, accumulates: bool, retain: bool, create: bool) -> Draft | None:
        """The engine is about to run; None where it runs already."""
        state = self._state
        if state.in_backward:
            return None
        self.note_cleared()
        loss = losses[0]
        draft: Draft = state.note(
            Backward,
            accumulates=accumulates,
            loss=float(loss.detach()) if len(losses) == 1 and is_single(loss) else None,
            loss_shape=tuple(loss.shape),
            leaf_loss=is_leaf_loss(loss),
            retain_graph=retain,
            create_graph=create,
            autocast=autocast_of(),
            scale=state.loss_scale,
        )
        self._walk(draft, losses)
        if accumulates:
            for tensor in losses:
                state.alive.watch(draft.index, tensor)
        state.journal.open(draft)
        state.in_backward += 1
        if accumulates:
            state.gradient_scale, state.loss_scale = state.loss_scale, None
            state.unscaled.clear()
        return draft

    def ends(self, draft: Draft) -> None:
        """The engine has run."""
        state = self._state
        self._left(draft)
        if not draft.fields["accumulates"]:
            state.gradients.computed = draft.index
            return
        filled = state.gradients.note_filled(draft.index)
        draft.fields["filled"] = Keys(filled | draft.fields.get("filled", Keys()))
        self._measure(draft)
        if draft.fields["filled"]:
            state.unanswered += 1
            state.waiting |= draft.fields["filled"]

    def failed(self, draft: Draft, error: BaseException) -> None:
        """The engine raised."""
        self._left(draft)
        draft.fields["error"] = f"{type(error).__name__}: {error}"
        if draft.fields["accumulates"]:
            draft.fields["filled"] = self._state.gradients.note_filled(draft.index)

    def note_cleared(self, **fields: Any) -> Held:
        """Note the gradients that became None or zero since the last look; without `fields`, at no line."""
        lost = self._state.gradients.note_cleared()
        if lost:
            note = self._state.note if fields else lambda kind, **facts: self._state.journal.note(kind, None, **facts)
            note(Clear, parameters=Keys(lost), lost=lost, **fields)
        return lost

    def note_inner(self) -> None:
        """A step runs inside the backward: what it filled so far is known now."""
        draft = self._state.journal.opened(Backward)
        if draft is not None:
            filled = self._state.gradients.note_filled(draft.index)
            draft.fields["filled"] = Keys(filled | draft.fields.get("filled", Keys()))

    def _left(self, draft: Draft) -> None:
        self._state.in_backward -= 1
        self._state.journal.close(draft)

    def _walk(self, draft: Draft, losses: tuple[Tensor, ...]) -> None:
        """What the losses reach and are made of."""
        state, place = self._state, draft.fields["location"]
        roots = [tensor.grad_fn for tensor in losses if tensor.grad_fn is not None]
        if place in self._large and self._walks[place] >= _WALKS:
            draft.fields["forwards"] = self._recent_forwards()
            return
        self._walks[place] += 1
        parameters: set[int] = set()
        forwards: set[int] = set()
        strangers: list[Tensor] = []
        nodes, complete, near = 0, True, list[Any]()
        for root in roots[:8]:
            reached = walk(root, state.things, state.forwards)
            parameters |= reached.parameters
            forwards |= reached.forwards
            strangers += reached.strangers
            nodes += reached.nodes
            near = near or reached.near
            complete = complete and reached.complete
        if nodes > _LARGE:
            self._large.add(place)
        draft.fields["made_anew"] = self._made_anew(place, strangers)
        draft.fields |= {"nodes": nodes, "forwards": tuple(sorted(forwards))}
        if complete:
            draft.fields["reached"] = Keys(parameters)
        if len(roots) == 1:
            made = composition_of(roots[0])
            draft.fields["targets"] = self._targets(near, sorted(forwards))
            draft.fields |= {"factors": made.factors, "operation": made.operation, "reduction": made.reduction}
            if nodes <= _LARGE:
                whole = DraftTerm(made.summands[0].name(), Keys(parameters), tuple(sorted(forwards)))
                one = len(made.summands) == 1 and complete
                draft.fields["terms"] = (whole,) if one else terms_of(made, state.things, state.forwards)
        if state.taker is not None:
            accumulates = draft.fields["accumulates"]
            draft.fields["graphless"] = state.taker.backward_begins(losses, Keys(parameters), accumulates=accumulates)

    def _targets(self, near: list[Any], forwards: list[int]) -> tuple[tuple[int, ...], ...]:
        """Hashes of the targets by sample, where all forwards that the loss reaches have as many."""
        drafts = self._state.journal.drafts
        samples = {drafts[index].fields["samples"] for index in forwards}
        if len(samples) != 1:
            return ()
        count = samples.pop()
        return tuple(found for tensor in targets_of(near) if (found := value_contents(tensor, count)))

    def _made_anew(self, place: Any, strangers: list[Tensor]) -> int:
        """How many of these parameters the last backward of the line did not have; none at the first."""
        before = self._strangers.get(place)
        self._strangers[place] = [weakref.ref(tensor) for tensor in strangers]
        if before is None:
            return 0
        known = {id(tensor) for reference in before if (tensor := reference()) is not None}
        return sum(id(tensor) not in known for tensor in strangers)

    def _recent_forwards(self) -> tuple[int, ...]:
        """Stands for a walk: the recorded forwards since the last backward."""
        last = next((draft.index for draft in self._state.journal.of(Backward)), -1)
        return tuple(sorted({index for index in self._state.forwards.values() if index > last}))

    def _measure(self, draft: Draft) -> None:
        """Norm of the gradients, the optimizers concerned, the share of zeros under float16."""
        things = self._state.things
        filled = [things.parameters[key] for key in draft.fields["filled"]]
        tensors = [
            tensor.grad for known in filled if (tensor := known.tensor()) is not None and tensor.grad is not None
        ]
        draft.fields["gradient_norm"] = self._state.gradient_norm.of(tensors)
        draft.fields["optimizers"] = tuple({ref: None for known in filled for ref in known.optimizers})
        for ref in draft.fields["optimizers"]:
            things.named(things.known[ref], things.known[ref].object())
        forwards = [self._state.journal.drafts[index] for index in draft.fields["forwards"]]
        if any(forward.fields.get("autocast") == "float16" for forward in forwards):
            plain = [tensor for tensor in tensors if is_strided(tensor)]
            zeros = sum(int(tensor.numel() - tensor.count_nonzero()) for tensor in plain)
            draft.fields["zero_share"] = zeros / max(1, sum(tensor.numel() for tensor in plain))
