"""EVL003: what the script evaluates is what it trains on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Forward, Level, Made, Skip, rule
from nnlint_rules.evaluation._passes import at, is_apart, loader_of

if TYPE_CHECKING:
    from nnlint import Events, LoaderFacts, Loaders

#: Equal samples that are no accident, and the share of distinct samples from which on equality says something.
_ENOUGH = 3
_SHARE = 0.1
_DISTINCT = 0.95


@rule("EVL003", "evaluated-on-training-data", level="warning", since="0.1")
def check(events: Events, loaders: Loaders) -> Iterator[Finding]:
    """What the script evaluates is the training set, or shares samples with it.

    ## What it does
    Looks at passes over a loader in which no update is made. Reports an evaluation whose loader reads the training loader's dataset
    or a part of it, or samples with the same bytes as training samples; and an evaluation on the training loader itself while another
    loader was made and is never read (an info where there is none). A training metric beside a validation on other data is fine.

    ## Why is this bad?
    The measured accuracy is that of memory. Overfitting stays unseen, and early stopping chooses the most overfitted weights.

    ## Example
        val_loader = DataLoader(train_set, batch_size=256)

    ## Use instead
        train_set, val_set = random_split(dataset, [0.9, 0.1])
        val_loader = DataLoader(val_set, batch_size=256)

    ## References
    - Hastie, Tibshirani and Friedman (2009), "The elements of statistical learning", section 7.10
    """
    evaluated = _evaluated(events)
    if not evaluated:
        raise Skip("no evaluation on batches of a loader was seen within the observed iterations; --until-evaluation waits for one")
    shared = {name: _shares(loaders[name], loaders) for name in evaluated}
    if not all(shared.values()):
        return
    for name, (count, total) in ((name, numbers) for name, numbers in shared.items() if numbers):
        forwards = evaluated[name]
        is_same = loaders[name].training
        unread = _unread(events, loaders) if is_same else None
        yield Finding(
            at=at(forwards[0]),
            level=Level.INFO if is_same and unread is None else None,
            message=f"{forwards[0].module} is evaluated on {'the training loader ' if is_same else ''}{name}: {count} of {total} samples "
            "are in the training set"
            + (
                f"; a loader over other data (line {unread.location.line}) is never read"
                if unread and unread.location
                else ""
            ),
            evidence={"shared": count, "of": total, "forwards": len(forwards)},
            fix="evaluate on samples that training does not use: split the dataset with `torch.utils.data.random_split`",
        )


def _evaluated(events: Events) -> dict[str, list[Forward]]:
    """Forwards without backward in passes without updates, by loader; re-estimating batch norm is no evaluation."""
    found: dict[str, list[Forward]] = {}
    trained = {forward.module for forward in events.training_forwards}
    used = {index for forward in events.training_forwards for index in forward.reads}
    for forward in events.forwards:
        is_one = forward.module in trained and forward.reads and not forward.backwards and not set(forward.reads) & used
        first = events.first_trained
        if not is_one or first is None or forward.index < first.index or not is_apart(events, forward):
            continue
        name = loader_of(events, forward)
        recalibrates = forward.training and not forward.grad_enabled and forward.buffers_changed
        if name is not None and not recalibrates and not (forward.training and forward.grad_enabled):
            found.setdefault(name, []).append(forward)
    return found


def _shares(loader: LoaderFacts, loaders: Loaders) -> tuple[int, int] | None:
    """How many of how many samples a loader shares with training; None where nothing says that it does."""
    total = loader.samples or len({one for read in loaders.reads_of(loader.name) for one in read.samples})
    if loader.training or any(_holds(train, loader) for train in loaders.training):
        return total, total
    trained = [
        sample
        for train in loaders.training
        for read in loaders.reads_of(train.name)
        if read.pass_ == 1
        for sample in read.samples
    ]
    seen = [sample for read in loaders.reads_of(loader.name) if read.pass_ == 1 for sample in read.samples]
    both = set(trained) & set(seen)
    if len(both) < max(_ENOUGH, _SHARE * len(seen)) or not (_are_distinct(trained) and _are_distinct(seen)):
        return None
    return len(both), len(set(seen))


def _holds(train: LoaderFacts, other: LoaderFacts) -> bool:
    """Whether the training loader draws from all that the other one reads: the same object, by plain samplers."""
    if train.dataset_key != other.dataset_key or train.shuffled is None or other.shuffled is None:
        return False
    return train.subset is None or train.subset == other.subset


def _are_distinct(samples: list[int]) -> bool:
    return bool(samples) and len(set(samples)) >= _DISTINCT * len(samples)


def _unread(events: Events, loaders: Loaders) -> Made | None:
    """A loader over other data than training's that was made and never read."""
    trained = {(loader.dataset_key, loader.subset) for loader in loaders.training}
    made = [event for event in events.of(Made) if event.what == "loader" and event.name not in loaders.known]
    return next((event for event in made if (event.facts["dataset_key"], event.facts["subset"]) not in trained), None)
