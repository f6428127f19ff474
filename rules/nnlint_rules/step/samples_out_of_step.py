"""STP016: inputs and targets of a step belong to different samples."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from nnlint import Backward, Finding, Level, Skip, rule
from nnlint_rules.step._samples_read import against_pairs, are_alike, brings_targets, is_input, side_by_side
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Events, Loaders

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
        inputs, targets = (one, two) if is_input(events, loaders, one) else (two, one)
        if (
            not are_alike(inputs, targets)
            or not is_input(events, loaders, inputs)
            or is_input(events, loaders, targets)
            or brings_targets(events, loaders, inputs)
        ):
            continue
        pairs = side_by_side(events, loaders, inputs, targets)
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
        said = against_pairs(events, backward)
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
