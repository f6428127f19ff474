"""STP016: inputs and targets of a step come from loaders that shuffle apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from nnlint import Backward, Finding, Read, Skip, Step, rule
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Events, LoaderFacts, Loaders

#: Iterations in which the two are read side by side.
_ENOUGH = 3


@rule("STP016", "samples-out-of-step", level="warning", since="0.1")
def check(events: Events, loaders: Loaders) -> Iterator[Finding]:
    """Inputs and targets of a step come from two loaders that shuffle independently.

    ## What it does
    Looks for two loaders of equal length that each iteration reads side by side in different orders, where the batches of one go
    into a model and those of the other into no model at all: they can only be the targets. Loaders whose batches both go into a model
    (pairs, unpaired translation, mixup) are not reported.

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
    if len(loaders.known) < 2:
        raise Skip("STP016 needs two loaders")
    for one, two in combinations(loaders, 2):
        inputs, targets = (one, two) if _is_input(events, loaders, one) else (two, one)
        if (
            not _are_alike(inputs, targets)
            or not _is_input(events, loaders, inputs)
            or _is_input(events, loaders, targets)
        ):
            continue
        pairs = _side_by_side(events, loaders, inputs, targets)
        apart = [pair for pair in pairs if pair[0].indices != pair[1].indices]
        if len(apart) >= _ENOUGH and 2 * len(apart) > len(pairs):
            yield Finding(
                at=at(apart[-1][1]),
                message=f"{inputs.name} (inputs) and {targets.name} (targets) shuffle independently: {len(apart)} of {len(pairs)} "
                "pairs of batches have different indices",
                evidence={"pairs": len(pairs), "apart": len(apart), "samples": inputs.samples},
                fix="read both from one dataset: `DataLoader(torch.utils.data.StackDataset(inputs, targets), shuffle=True)`",
            )


def _are_alike(one: LoaderFacts, two: LoaderFacts) -> bool:
    return one.samples is not None and (one.samples, one.batch_size) == (two.samples, two.batch_size)


def _is_input(events: Events, loaders: Loaders, loader: LoaderFacts) -> bool:
    """Whether any tensor of its batches went into a module."""
    own = {content for read in loaders.reads_of(loader.name) for content in read.content}
    return any(own & {leaf.content for leaf in forward.inputs} for forward in events.forwards)


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
