"""Watches the calls of modules."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from nnlint.capture.torch_private import version
from nnlint.observation.content import content_of, digest_of_random_states, leaf_of
from nnlint.observation.events import Forward, Leaf, Update
from nnlint.observation.graphs import parameters_below, saved_bytes, sequence_numbers
from nnlint.observation.journal import Draft, Keys
from nnlint.observation.state import State, autocast_of, unwrapped
from nnlint.observation.things import Thing, script_line
from nnlint.observation.torch_private import contents_of, is_batch_norm, is_dropout, next_sequence_number
from nnlint.tensors import is_fake, tensor_leaves

#: Batches that are remembered to recognize where an input comes from.
_REMEMBERED = 8
#: Autograd nodes of a forward that are remembered as its own.
_NODES = 5_000


class Forwards:
    """Makes `Forward` events, and `Update` events where parameters moved by hand since the last look."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buffers: list[tuple[str, Tensor, int | None]] = []
        self._measured: set[Any] = set()
        self._taken = False
        self._first_node: int | None = None
        self._reads: deque[tuple[Draft, tuple[Leaf, ...]]] = deque(maxlen=_REMEMBERED)
        self._hashed: deque[tuple[weakref.ref[Tensor], int | None, Leaf]] = deque(maxlen=_REMEMBERED)

    def read(self, draft: Draft, tensors: list[Tensor], leaves: tuple[Leaf, ...]) -> None:
        """Remember a batch, so that it is recognized when it goes into a module."""
        self._reads.append((draft, leaves))
        for tensor, leaf in zip(tensors, leaves, strict=True):
            self._hashed.append((weakref.ref(tensor), version(tensor), leaf))

    def begins(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, records: bool
    ) -> Draft | None:
        """An outermost call begins; None where the module has no parameters."""
        state = self._state
        inner, wrapper = unwrapped(module)
        if next(inner.parameters(), None) is None:
            return None
        modules, own, buffers = contents_of(inner)
        thing = self._entered(inner, own)
        state.things.named(thing, inner)
        self.note_hand_updates()
        inputs = [(".".join(map(str, path)), tensor) for path, tensor in tensor_leaves((args, kwargs))]
        leaves = tuple(self._leaf(name, tensor) for name, tensor in inputs if not is_fake(tensor))
        samples = next((leaf.shape[0] for leaf in leaves if leaf.shape), 0)
        draft = state.note(
            Forward,
            module=thing.ref,
            wrapper=wrapper,
            training=inner.training,
            modes={path: child.training for path, child in modules if _has_mode(child)},
            grad_enabled=records,
            inputs=leaves,
            samples=samples,
            reads=self._sources(leaves, samples),
            autocast=autocast_of(),
            unoptimized=self._unoptimized(own),
            random_state=digest_of_random_states(),
        )
        self._buffers = [(name, buffer, version(buffer)) for name, buffer in buffers]
        self._taken = state.taker is not None and records
        if state.taker is not None and records:
            state.taker.forward_begins(module, args, kwargs)
        state.in_forward += 1
        self._first_node = next_sequence_number()
        return draft if isinstance(draft, Draft) else None

    def ends(self, draft: Draft, module: nn.Module, output: Any) -> None:
        """The call returned."""
        state = self._state
        state.in_forward -= 1
        tensors = [tensor for _, tensor in tensor_leaves(output)]
        graphed = [tensor for tensor in tensors if tensor.requires_grad]
        draft.fields["records_graph"] = bool(graphed)
        # Not the outputs' nodes alone: a state that the module keeps is reached beside them.
        last = next_sequence_number()
        made = range(self._first_node, last) if self._first_node is not None and last is not None else range(0)
        for number in (*made[-_NODES:], *sequence_numbers(iter(graphed))):
            state.forwards[number] = draft.index
        if graphed:
            state.alive.watch_output(draft.index, graphed[0])
        place = draft.fields["location"]
        if graphed and (place, draft.fields["training"]) not in self._measured:
            self._measured.add((place, draft.fields["training"]))
            draft.fields["graph_bytes"] = saved_bytes(graphed)
            draft.fields["recorded"] = Keys(parameters_below(graphed, state.things))
        draft.fields["buffers_changed"] = self._changed_buffers()
        if state.taker is not None and self._taken:
            state.taker.forward_ends(module, output)

    def failed(self, draft: Draft, module: nn.Module, error: BaseException) -> None:
        """The call raised."""
        self._state.in_forward -= 1
        if self._state.taker is not None and self._taken:
            self._state.taker.forward_failed(module, error)
        draft.fields["error"] = f"{type(error).__name__}: {error}"

    def note_hand_updates(self) -> None:
        """Find parameters that changed since the last look, outside of steps."""
        state = self._state
        if state.values is None:
            state.note_values()
            return
        changed = state.values.changed()
        if changed:
            self.updated(changed, by="hand")
        elif rewritten := state.rewritten():
            state.journal.note(Update, None, parameters=Keys(rewritten), by="rewriting")
            state.note_values()
        else:
            known = {known.key for known, _ in state.things.alive()}
            if known - state.values.keys:
                state.note_values()

    def updated(self, changed: frozenset[int], **fields: Any) -> None:
        """Note a change outside of steps; gradients that were there count as used."""
        state = self._state
        location = script_line() if fields["by"] != "hand" else None
        state.journal.note(Update, location, parameters=Keys(changed), **fields)
        state.mark_changed(changed)
        if changed & state.waiting:
            state.note_update(None)
        state.note_values()

    def _entered(self, module: nn.Module, named: list[tuple[str, nn.Parameter]]) -> Thing:
        """The thing for a module, its parameters entered under their paths."""
        state = self._state
        now = len(state.journal.drafts)
        thing = state.things.of("module", module, made=now)
        own = [(path, state.things.parameter(tensor, now=now), tensor) for path, tensor in named if tensor.is_leaf]
        for path, known, parameter in own:
            known.requires_grad = parameter.requires_grad
            if known.owner is None:
                known.owner = (thing.ref, path)
        if "facts" not in thing.facts:
            thing.facts = {"facts": True, **_facts(module)}
            thing.facts["statistics"] = statistics_of(module)
        thing.facts["parameters"] = Keys(known.key for _, known, _ in own)
        return thing

    def _leaf(self, name: str, tensor: Tensor) -> Leaf:
        """The hash of an input, taken over from the batch that it was read in."""
        for reference, count, leaf in self._hashed:
            if reference() is tensor and version(tensor) == count:
                return replace(leaf, name=name)
        return leaf_of(name, tensor)

    def _unoptimized(self, named: list[tuple[str, nn.Parameter]]) -> Keys:
        lookup = self._state.things.lookup
        known = (lookup(parameter) for _, parameter in named if parameter.requires_grad)
        return Keys(entry.key for entry in known if entry is not None and not entry.optimizers)

    def _sources(self, leaves: tuple[Leaf, ...], samples: int) -> tuple[int, ...]:
        """The batches that the inputs come from: by content; else the newest batch with as many samples."""
        contents = {leaf.content for leaf in leaves if leaf.content}
        found = [read.index for read, read_leaves in self._reads if contents & {leaf.content for leaf in read_leaves}]
        if not found and samples:
            for read, read_leaves in reversed(self._reads):
                if any(leaf.shape[:1] == (samples,) for leaf in read_leaves):
                    found = [read.index]
                    break
        return tuple(found)

    def _changed_buffers(self) -> tuple[str, ...]:
        changed = [name for name, buffer, before in self._buffers if version(buffer) != before]
        self._buffers = []
        # torch writes running statistics without counting; it counts the batches, though.
        counters = [name.rpartition(".")[0] for name in changed if name.rpartition(".")[2] == "num_batches_tracked"]
        extra = [f"{path}.running_mean" if path else "running_mean" for path in counters]
        return tuple(dict.fromkeys((*changed, *extra)))


def _has_mode(module: nn.Module) -> bool:
    return is_dropout(module) or is_batch_norm(module)


def _facts(module: nn.Module) -> dict[str, Any]:
    named = list(module.named_modules())
    return {
        "dropouts": tuple(path for path, child in named if is_dropout(child) and getattr(child, "p", True)),
        "batch_norms": tuple(
            path for path, child in named if is_batch_norm(child) and getattr(child, "track_running_stats", True)
        ),
        "own_train": type(module).train is not nn.Module.train,
    }


def statistics_of(module: nn.Module) -> int:
    """A hash of the running statistics of a module's batch norms."""
    kept = (child.running_mean for child in module.modules() if is_batch_norm(child))
    return hash(tuple(content_of(mean) for mean in kept if isinstance(mean, Tensor) and not is_fake(mean)))
