"""STP016: inputs and targets of a step belong to different samples."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from nnlint import Backward, Finding, Forward, Level, Read, Skip, Step, rule
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Event, Events, LoaderFacts, Loaders

#: Iterations in which the two are read side by side.
_ENOUGH = 3


@rule("STP016", "samples-out-of-step", level="error", since="0.1")
def check(events: Events, loaders: Loaders) -> Iterator[Finding]:
    """The targets of a step belong to other samples than its inputs.

    ## What it does
    Matches what the loss functions of torch compare with against the batch that the inputs came from, sample by sample. Reports targets
    that are the batch's own in another order, and targets of another batch of the same dataset. Where the targets come from a dataset of
    their own, reports as a warning two loaders of equal length that each iteration reads side by side in different orders, where the
    batches of one go into a model, bring no targets of their own, and those of the other go into no model at all. Inputs that were
    mixed, losses that compare with the batch's own targets as well (mixup, labelled beside unlabelled batches), and loaders whose
    batches both go into a model (pairs, unpaired translation) are not reported.

    ## Why is this bad?
    Each input gets the target of another sample. The labels are noise, and the loss stops at the level of guessing.

    ## Example
        images = DataLoader(image_set, batch_size=32, shuffle=True)
        masks = DataLoader(mask_set, batch_size=32, shuffle=True)
        for x, y in zip(images, masks): ...

    ## Use instead
        pairs = DataLoader(StackDataset(image_set, mask_set), batch_size=32, shuffle=True)
        for x, y in pairs: ...

    ## References
    - PyTorch: `torch.utils.data.StackDataset`, `torch.utils.data.TensorDataset`
    """
    if not loaders.known:
        raise Skip("STP016 needs batches of a DataLoader")
    yield from _permuted(events)
    for one, two in combinations(loaders, 2):
        inputs, targets = (one, two) if _is_input(events, loaders, one) else (two, one)
        if (
            not _are_alike(inputs, targets)
            or not _is_input(events, loaders, inputs)
            or _is_input(events, loaders, targets)
            or _brings_targets(events, loaders, inputs)
        ):
            continue
        pairs = _side_by_side(events, loaders, inputs, targets)
        apart = [pair for pair in pairs if pair[0].indices != pair[1].indices]
        if len(apart) >= _ENOUGH and 2 * len(apart) > len(pairs):
            yield Finding(
                at=at(apart[-1][1]),
                level=Level.WARNING,
                message=f"{inputs.name} (inputs) and {targets.name} (targets) shuffle independently: {len(apart)} of {len(pairs)} "
                "pairs of batches have different indices",
                evidence={"pairs": len(pairs), "apart": len(apart), "samples": inputs.samples},
                fix="read both from one dataset: `DataLoader(torch.utils.data.StackDataset(inputs, targets), shuffle=True)`",
            )


def _permuted(events: Events) -> Iterator[Finding]:
    """Targets that the dataset's own pairs contradict."""
    lines: dict[object, list[tuple[Backward, str | None]]] = {}
    for backward in events.backwards:
        said = _against_pairs(events, backward)
        if said is not None:
            lines.setdefault(backward.location, []).append((backward, said or None))
    for found in lines.values():
        apart = [(backward, said) for backward, said in found if said is not None]
        if len(apart) >= _ENOUGH and 2 * len(apart) > len(found):
            backward, said = apart[-1]
            yield Finding(
                at=at(backward),
                message=f"the loss compares the outputs with {said}, in {len(apart)} of {len(found)} backwards: inputs and "
                "targets belong to different samples",
                evidence={"backwards": len(apart), "of": len(found)},
                fix="take inputs and targets from one read: `for x, y in loader:`, and permute both with the same indices",
            )


def _against_pairs(events: Events, backward: Backward) -> str | None:
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


def _are_alike(one: LoaderFacts, two: LoaderFacts) -> bool:
    return one.samples is not None and (one.samples, one.batch_size) == (two.samples, two.batch_size)


def _is_input(events: Events, loaders: Loaders, loader: LoaderFacts) -> bool:
    """Whether any tensor of its batches went into a module."""
    own = {content for read in loaders.reads_of(loader.name) for content in read.content}
    return any(own & {leaf.content for leaf in forward.inputs} for forward in events.forwards)


def _brings_targets(events: Events, loaders: Loaders, loader: LoaderFacts) -> bool:
    """Whether a loss compares with the targets that its own batches hold: a loader read beside it gives other inputs (unlabelled ones)."""
    own = {values for read in loaders.reads_of(loader.name) for values in read.others if len(set(values)) > 1}
    return any(target in own for backward in events.backwards for target in backward.targets)


def _side_by_side(
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
