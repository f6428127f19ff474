"""Watches what is neither forward, backward nor step: loaders, modes, seeds, state dicts."""

from __future__ import annotations

import weakref
import zlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler, Subset

from nnlint.observation.content import (
    digest_of_random_states,
    labels_of,
    leaf_of,
    leaves_of,
    sample_contents,
    value_contents,
)
from nnlint.observation.events import Backward, Made, Mode, RandomState, Seed, StateKept, Step
from nnlint.observation.forwards import Forwards
from nnlint.observation.journal import Draft, Keys
from nnlint.observation.reads import Pass, Read
from nnlint.observation.state import State, unwrapped
from nnlint.observation.things import Thing, is_read_by_script, script_line
from nnlint.setup.target.partial_loads import partial_load
from nnlint.tensors import tensor_leaves

#: Loaders that are kept for the setups.
_KEPT = 8
#: Tensors of a saved object that are looked at.
_SAVED = 4096
#: Labels and classes of a dataset that are counted.
_LABELS = 2_000_000
_CLASSES = 1000


@dataclass
class Reading:
    """A pass over a loader that is going on."""

    thing: Thing
    number: int
    begun: int
    batches: int = 0
    folded: bool = False
    indices: list[tuple[int, ...]] = field(default_factory=list)
    random_state: RandomState = (0, 0, 0)
    loader: weakref.ref[Any] | None = None
    by_script: bool = True


@dataclass
class _Kept:
    """A state dict and the tensors that tell whether it is still held."""

    draft: Draft
    module: weakref.ref[nn.Module]
    tensors: list[tuple[str, weakref.ref[Tensor]]]
    steps: int


class Rest:
    """Makes `Read`, `Pass`, `Mode`, `Seed` and `StateKept` events."""

    def __init__(self, state: State, forwards: Forwards) -> None:
        self._state = state
        self._forwards = forwards
        self._readings: weakref.WeakKeyDictionary[Any, Reading] = weakref.WeakKeyDictionary()
        self._kept: list[_Kept] = []
        #: Passes over the training loaders that each line made.
        self._epochs: Counter[Any] = Counter()
        self.in_mode = 0
        self.in_state = 0

    # ---------------------------------------------------------------- loaders

    def loader_made(self, loader: DataLoader[Any]) -> None:
        """A loader was made."""
        thing = self._loader(loader)
        thing.location = script_line()
        facts = {name: thing.facts[name] for name in ("dataset_key", "subset", "samples")}
        self._state.note(Made, what="loader", name=thing.ref, facts=facts)

    def _loader(self, loader: DataLoader[Any]) -> Thing:
        thing = self._state.things.of("loader", loader, made=len(self._state.journal.drafts))
        if not thing.facts:
            thing.facts = loader_facts(loader)
        return thing

    def pass_begins(self, iterator: Any, loader: DataLoader[Any]) -> None:
        """`iter(loader)` made an iterator."""
        thing = self._state.things.named(self._loader(loader), loader)
        thing.location = thing.location or script_line()
        number = thing.facts["passes"] = thing.facts.get("passes", 0) + 1
        if len(self._state.kept) < _KEPT:
            self._state.kept[thing.ref] = loader
        self._readings[iterator] = Reading(
            thing, number, len(self._state.journal.drafts), loader=weakref.ref(loader), by_script=is_read_by_script()
        )
        epoch = getattr(loader.sampler, "epoch", None)
        self._state.note(
            Pass,
            loader=thing.ref,
            number=number,
            sampler_epoch=epoch if isinstance(epoch, int) else None,
            random_state=digest_of_random_states(),
        )

    def reading(self, iterator: Any) -> Reading | None:
        """The pass that an iterator makes."""
        return self._readings.get(iterator)

    def drawn(self, iterator: Any, indices: Any) -> None:
        """The sampler drew the indices of a batch (with workers, of one that comes later)."""
        reading = self._readings.get(iterator)
        if reading is not None:
            plain = indices if isinstance(indices, (list, tuple)) else (indices,)
            reading.indices.append(tuple(index for index in plain if isinstance(index, int)))

    def read_begins(self, iterator: Any) -> None:
        """A batch is about to be made."""
        reading = self._readings.get(iterator)
        if reading is not None:
            reading.random_state = digest_of_random_states()

    def read(self, iterator: Any, batch: Any) -> None:
        """A batch came."""
        reading = self._readings.get(iterator)
        if reading is None:
            return
        self._state.things.named(reading.thing, reading.loader() if reading.loader is not None else None)
        named = leaves_of(batch)
        originals = [tensor for _, tensor in _tensors(batch)]
        leaves = tuple(leaf_of(name, tensor) for name, tensor in named)
        position = reading.batches
        draft = self._state.note(
            Read,
            loader=reading.thing.ref,
            pass_=reading.number,
            number=position,
            leaves=leaves,
            samples=sample_contents(named[0][1]) if named else (),
            others=tuple(value_contents(tensor, len(named[0][1])) for _, tensor in named[1:] if named[0][1].dim()),
            labels=labels_of(named),
            indices=reading.indices[position] if position < len(reading.indices) else (),
            random_state=reading.random_state,
        )
        reading.batches += 1
        self._forwards.read(draft, originals, leaves)

    def pass_ends(self, iterator: Any, *, folded: bool) -> None:
        """The iterator is exhausted, or nnlint says so."""
        reading = self._readings.get(iterator)
        if reading is None:
            return
        if reading.thing.facts.get("training") or self._has_trained(reading):
            line = reading.thing.location or reading.thing.ref
            self._epochs[line] += 1
            self._state.journal.epoch = max(self._epochs.values())
        self._state.note(
            Pass,
            loader=reading.thing.ref,
            number=reading.number,
            ends=True,
            batches=reading.batches,
            folded=folded,
            by_script=reading.by_script,
            random_state=digest_of_random_states(),
        )

    def _has_trained(self, reading: Reading) -> bool:
        """Whether a batch of this pass came into a forward that a backward reached."""
        drafts = self._state.journal.drafts
        since = drafts[reading.begun :]
        forwards = (drafts[index] for draft in since if draft.kind is Backward for index in draft.fields["forwards"])
        reads = (drafts[index] for forward in forwards for index in forward.fields.get("reads", ()))
        return any(read.fields["loader"] == reading.thing.ref for read in reads)

    # ---------------------------------------------------------------- modes, seeds, states

    def mode_set(self, module: nn.Module, training: Any) -> None:
        """`train()` or `eval()` was called on a module that is no part of another such call."""
        inner, _ = unwrapped(module)
        if next(inner.parameters(), None) is None:
            return
        thing = self._state.things.of("module", inner, made=len(self._state.journal.drafts))
        self._state.things.named(thing, inner)
        self._state.note(Mode, module=thing.ref, training=bool(training))

    def seeded(self, what: str, value: Any) -> None:
        """The random state was set."""
        draft = self._state.note(Seed, what=what, value=value if isinstance(value, int) else None)
        self._state.askers.note(draft)

    def state_taken(self, module: nn.Module, state: Any) -> None:
        """`state_dict()` returned."""
        if not isinstance(state, dict):
            return
        tensors = [(name, weakref.ref(value)) for name, value in state.items() if isinstance(value, Tensor)]
        thing = self._state.things.of("module", module, made=len(self._state.journal.drafts))
        self._state.things.named(thing, module)
        draft = self._state.note(StateKept, module=thing.ref)
        self._kept.append(_Kept(draft, weakref.ref(module), tensors, self._state.journal.iteration))

    def state_loaded(self, module: nn.Module, given: Any, own: Any, result: Any) -> None:
        """`load_state_dict` returned its result; `own` says whether the loaded tensors were the module's own."""
        self.consumed(given)
        load = partial_load(module, given, result, script_line())
        if load is not None:
            self._state.loads.append(load)
        thing = self._state.things.of("module", module, made=len(self._state.journal.drafts))
        values = self._state.values
        changed = values.changed() if values is not None else frozenset()
        self._forwards.updated(changed, by="load_state_dict", module=thing.ref, own_state=bool(own))

    def consumed(self, value: Any) -> None:
        """A value was saved or loaded: the states in it have served before the module changed."""
        held = {id(tensor) for _, tensor in islice(tensor_leaves(value), _SAVED)}
        for kept in self._kept:
            if not kept.draft.fields.get("changed") and any(id(ref()) in held for _, ref in kept.tensors):
                kept.draft.fields["consumed"] = True

    def stepped(self, step: int) -> None:
        """Look which state dicts are still held after a step."""
        for kept in list(self._kept):
            module = kept.module()
            held = [(name, tensor) for name, ref in kept.tensors if (tensor := ref()) is not None]
            if module is None or 2 * len(held) <= len(kept.tensors):
                self._kept.remove(kept)  # one that is left is a loop's variable
                continue
            fields = kept.draft.fields
            fields["alive_at"] = (*fields.get("alive_at", ()), step)
            live: dict[str, Tensor] = dict((*module.named_parameters(), *module.named_buffers()))
            shared = [name for name, tensor in held if name in live and _same_memory(tensor, live[name])]
            fields["shares_storage"] = bool(shared)
            own = {known.key for tensor in live.values() if (known := self._state.things.lookup(tensor)) is not None}
            later = self._state.journal.drafts[kept.draft.index :]
            fields["changed"] = any(own & draft.fields.get("changed", Keys()) for draft in later if draft.kind is Step)


def _tensors(batch: Any) -> list[tuple[str, Tensor]]:
    return [(".".join(map(str, path)), tensor) for path, tensor in islice(tensor_leaves(batch), 32)]


def _same_memory(one: Tensor, other: Tensor) -> bool:
    try:
        return one.data_ptr() == other.data_ptr() != 0
    except RuntimeError:
        return False


def own_state(module: nn.Module, state: Any) -> bool:
    """Whether a state holds the module's own tensors."""
    if not isinstance(state, dict):
        return False
    live = dict(module.named_parameters())
    pairs = [(state[name], tensor) for name, tensor in live.items() if isinstance(state.get(name), Tensor)]
    return bool(pairs) and all(_same_memory(one, other) for one, other in pairs)


def loader_facts(loader: DataLoader[Any]) -> dict[str, Any]:
    """What is known of a loader without reading it."""
    dataset, subset = loader.dataset, None
    while isinstance(dataset, Subset):
        subset = zlib.crc32(repr((subset, list(dataset.indices))).encode())
        dataset = dataset.dataset
    sampler = getattr(loader, "sampler", None)
    replicas = (getattr(sampler, "num_replicas", None), getattr(sampler, "rank", None))
    return {
        "batches": _length(loader),
        "samples": _length(loader.dataset),
        "batch_size": loader.batch_size,
        "shuffled": _shuffled(loader),
        "sampler": type(sampler).__name__,
        "dataset": type(dataset).__name__,
        "dataset_key": id(dataset),
        "subset": subset,
        "workers": loader.num_workers,
        "drop_last": bool(loader.drop_last),
        "has_generator": loader.generator is not None,
        "replicas": replicas if all(isinstance(number, int) for number in replicas) else None,
        "worker_generators": _generators(dataset) if loader.num_workers and loader.worker_init_fn is None else (),
        "label_shares": _label_shares(dataset) if subset is None else {},
    }


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except Exception:  # an iterable dataset has none, and the script's own may raise anything
        return None


def _shuffled(loader: DataLoader[Any]) -> bool | None:
    if isinstance(loader.dataset, IterableDataset):
        return None
    sampler = loader.sampler
    if isinstance(sampler, RandomSampler):
        return True
    if isinstance(sampler, SequentialSampler):
        batches = loader.batch_sampler
        return False if batches is None or type(batches) is BatchSampler else None
    shuffles = getattr(sampler, "shuffle", None)
    return shuffles if isinstance(shuffles, bool) else None


def _generators(dataset: Any) -> tuple[str, ...]:
    import random

    table = getattr(dataset, "__dict__", {})
    return tuple(
        name
        for name, value in table.items()
        if isinstance(value, (random.Random, torch.Generator)) or type(value).__module__.startswith("numpy.random")
    )


def _label_shares(dataset: Any) -> dict[int, float]:
    """The share of each label, from the table that most datasets keep; nothing is read through the dataset itself."""
    table = getattr(dataset, "__dict__", {})
    tensors = table.get("tensors")
    last = tensors[-1] if isinstance(tensors, (list, tuple)) and tensors else None
    labels: Any = next((value for value in (table.get("targets"), table.get("labels"), last) if value is not None), ())
    if isinstance(labels, Tensor) or type(labels).__module__ == "numpy":
        labels = labels.tolist() if labels.ndim == 1 and len(labels) <= _LABELS else ()
    if not isinstance(labels, (list, tuple)) or len(labels) > _LABELS or not all(isinstance(x, int) for x in labels):
        return {}
    counts = Counter(labels)
    if len(counts) > _CLASSES:
        return {}
    return {label: count / len(labels) for label, count in counts.items()}
