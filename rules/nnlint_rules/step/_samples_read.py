"""Which batches the inputs and the targets of a step come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlint import Backward, Forward, Read, Step

if TYPE_CHECKING:
    from nnlint import Event, Events, LoaderFacts, Loaders


def against_pairs(events: Events, backward: Backward) -> str | None:
    """What the targets are where they are not the inputs' own; empty where they are, None where nothing can be said."""
    reads = {read.index: read for forward in events.at(backward.forwards) for read in _exact(events, forward)}
    own = [values for read in reads.values() for values in read.others if len(set(values)) > 1]
    if not own or not backward.targets:
        return None
    if any(_is_relabelled(values, target) for values in own for target in backward.targets):
        return ""
    if any(sorted(target) == sorted(values) for target in backward.targets for values in own):
        return "the batch's own targets in another order"
    loaders = {read.loader for read in reads.values()}
    others = (read for read in events.reads if read.loader in loaders and read.index not in reads)
    if any(target == values for read in others for values in read.others for target in backward.targets):
        return "the targets of another batch of the same loader"
    return None


def _is_relabelled(values: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether equal values always became equal ones: the same targets, or other names for them (a label flipped on purpose)."""
    if len(values) != len(target) or values == target:
        return values == target
    classes = len(set(values))
    return 2 * classes <= len(values) and len(set(zip(values, target, strict=True))) == classes


def _exact(events: Events, forward: Event) -> list[Read]:
    """The batches of which a forward takes a tensor as it was read."""
    if not isinstance(forward, Forward):
        return []
    inputs = {leaf.content for leaf in forward.inputs}
    reads = [event for event in events.at(forward.reads) if isinstance(event, Read)]
    return [read for read in reads if read.leaves and read.leaves[0].content in inputs]


def are_alike(one: LoaderFacts, two: LoaderFacts) -> bool:
    """Whether two loaders have as many samples, in batches of one size: read side by side they end together."""
    return one.samples is not None and (one.samples, one.batch_size) == (two.samples, two.batch_size)


def is_input(events: Events, loaders: Loaders, loader: LoaderFacts) -> bool:
    """Whether any tensor of its batches went into a module."""
    own = {content for read in loaders.reads_of(loader.name) for content in read.content}
    return any(own & {leaf.content for leaf in forward.inputs} for forward in events.forwards)


def brings_targets(events: Events, loaders: Loaders, loader: LoaderFacts) -> bool:
    """Whether a loss compares with the targets that its own batches hold: a loader read beside it gives other inputs (unlabelled ones)."""
    own = {values for read in loaders.reads_of(loader.name) for values in read.others if len(set(values)) > 1}
    return any(target in own for backward in events.backwards for target in backward.targets)


def side_by_side(
    events: Events, loaders: Loaders, inputs: LoaderFacts, targets: LoaderFacts
) -> list[tuple[Read, Read]]:
    """Batches of both with the same number that one backward follows."""
    theirs = {(read.pass_, read.number): read for read in loaders.reads_of(targets.name) if read.indices}
    found = []
    for read in loaders.reads_of(inputs.name):
        other = theirs.get((read.pass_, read.number))
        if other is None or not read.indices:
            continue
        low, high = sorted((read, other), key=lambda event: event.index)
        if not events.between(low, high, Step) and not events.between(low, high, Backward):
            found.append((read, other))
    return found
