"""STP014: every update uses the same batch although the loader has others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from nnlint import Finding, Forward, Read, Skip, rule
from nnlint_rules.step._steps import at, named, stepped

if TYPE_CHECKING:
    from nnlint import Events, Loaders, Step

#: Updates in a row that must use one batch.
_ENOUGH = 3


@dataclass(frozen=True)
class _Use:
    """What an update was made from: the batches, and the tensors that went into its forwards."""

    reads: tuple[Read, ...]
    inputs: frozenset[int]

    @property
    def content(self) -> frozenset[tuple[object, ...]]:
        """By the sampler's indices where it has some: a dataset may draw an augmentation, or partners, anew for the same samples."""
        return frozenset((read.loader, *(read.indices or read.content)) for read in self.reads)


@rule("STP014", "same-batch-every-step", level="error", since="0.1")
def check(events: Events, loaders: Loaders) -> Iterator[Finding]:
    """Successive updates use the very same batch although the loader has others.

    ## What it does
    Compares the batches that successive updates of an optimizer come from, by content and by the sampler's indices. Reports an
    optimizer whose updates all use one batch while the loader is read again and again: `next(iter(loader))` in the loop begins a new
    pass each time, or the loop's variable is not the one that goes into the model. A loader of one batch, and several updates on a
    batch that was read once (PPO, an overfitting test), are not reported.

    ## Why is this bad?
    The model sees a few samples only and memorizes them. The training loss falls beautifully.

    ## Example
        for step in range(steps):
            x, y = next(iter(loader))
            train_step(x, y)

    ## Use instead
        for x, y in loader:
            train_step(x, y)

    ## References
    - PyTorch documentation, `torch.utils.data`, "Single- and multi-process data loading"
    """
    if not loaders.training:
        raise Skip("no batch of a DataLoader was trained on")
    for optimizer, steps in stepped(events, least=_ENOUGH):
        found = _run(events, [(step, _use(events, step)) for step in steps])
        if found is None:
            continue
        again, run = found
        uses = [use for _, use in run]
        first = uses[0].reads[0]
        facts = loaders[first.loader]
        if facts.batches == 1:
            continue
        reads = {read.index for use in uses for read in use.reads}
        size = first.leaves[0].shape[0] if first.leaves and first.leaves[0].shape else 1
        yield Finding(
            at=at(uses[-1].reads[0] if again else events[max(_forwards(events, run[-1][0]))]),
            message=f"{_count(len(run), len(steps))} of {named(optimizer)} use the same batch of {size} samples, although {first.loader} "
            f"has {facts.batches or 'more'} batches: "
            + ("each iteration begins a new pass over it" if again else "the batches read since are not used"),
            evidence={"steps": len(run), "of": len(steps), "batch": size, "batches": facts.batches, "reads": len(reads)},
            fix=f"iterate over the loader: `for batch in {first.loader}:`"
            if again
            else "pass the loop's batch to the model",
        )


def _count(run: int, steps: int) -> str:
    return f"all {steps} observed steps" if run == steps else f"{run} of {steps} observed steps, one after the other,"


def _run(events: Events, used: list[tuple[Step, _Use]]) -> tuple[bool, list[tuple[Step, _Use]]] | None:
    """Successive steps that use one batch, most of all (an epoch's first batch may be another), and whether it is read anew each time."""
    for again in (True, False):
        runs: list[list[tuple[Step, _Use]]] = []
        for step, use in used:
            last = runs[-1][-1][1] if runs else None
            same = last is not None and (use.content == last.content if again else use.inputs == last.inputs)
            if use.reads and same:
                runs[-1].append((step, use))
            elif use.reads:
                runs.append([(step, use)])
        longest = max(runs, key=len, default=[])
        if len(longest) < _ENOUGH or 2 * len(longest) <= len(used):
            continue
        uses, steps = [use for _, use in longest], tuple(step for step, _ in longest)
        reads = {read.index for use in uses for read in use.reads}
        if (again and len(reads) >= _ENOUGH) or (not again and _is_left_over(events, uses, steps)):
            return again, longest
    return None


def _forwards(events: Events, step: Step) -> set[int]:
    found = (event for event in events.at(step.backwards))
    return {index for event in found for index in getattr(event, "forwards", ())}


def _use(events: Events, step: Step) -> _Use:
    forwards = [event for event in events.at(tuple(sorted(_forwards(events, step)))) if isinstance(event, Forward)]
    reads = {index for forward in forwards for index in forward.reads}
    batches = tuple(event for event in events.at(tuple(sorted(reads))) if isinstance(event, Read))
    return _Use(batches, frozenset(leaf.content for forward in forwards for leaf in forward.inputs))


def _is_left_over(events: Events, uses: list[_Use], steps: tuple[Step, ...]) -> bool:
    """Whether all updates take one batch while others, which no forward takes, are read between any two of them."""
    inputs = uses[0].inputs
    if not all(use.inputs == inputs for use in uses) or not any(inputs & set(read.content) for read in events.reads):
        return False
    return all(
        any(not inputs & set(read.content) for read in events.between(one, two, Read)) for one, two in pairwise(steps)
    )
