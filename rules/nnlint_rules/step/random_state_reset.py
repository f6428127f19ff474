"""STP017: training draws the same random numbers again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from nnlint import Finding, Forward, Made, Pass, Place, Read, Seed, Step, rule
from nnlint_rules.step._steps import at, stepped

if TYPE_CHECKING:
    from nnlint import Event, Events, LoaderFacts, Loaders

#: Samples of a first batch in the same random order that are no accident.
_SAMPLES = 4


@rule("STP017", "random-state-reset", level="warning", since="0.1", explains=["STP014"])
def check(events: Events, loaders: Loaders) -> Iterator[Finding]:
    """The random state is rewound while the script trains: shuffling, dropout and noise repeat.

    ## What it does
    Compares the state of the random generators at the starts of passes, forwards and steps of training. Reports a state that comes
    back after training had drawn from it, a seed that is set again to a value of before while training goes on from it, a shuffled
    loader whose order is the same in the next pass, and random generators that a dataset holds, which every worker copies. An
    evaluation that restores the state afterwards, and folds that begin with a new optimizer, are not reported.

    ## Why is this bad?
    Every epoch shows the same batches in the same order, with the same dropout masks and the same noise: the randomness that
    regularizes becomes a constant that can be memorized.

    ## Example
        def evaluate(model):
            torch.manual_seed(0)

    ## Use instead
        def evaluate(model):
            with torch.random.fork_rng():
                torch.manual_seed(0)

    ## References
    - PyTorch notes, "Reproducibility"; `torch.random.fork_rng`
    """
    list(stepped(events))
    points = _points(events, loaders)
    rewound = _returned(events, points) or _seeded_again(events, points)
    if rewound is not None:
        seed, before, after = rewound
        yield Finding(
            at=at(seed or after),
            message="training draws the same random numbers again: "
            + (
                f"the seed {seed.value} is set again"
                if seed and seed.value is not None
                else "the random state is put back"
            )
            + f" after {after.iteration} updates"
            + (f" to where it was after {before.iteration}" if before.iteration < after.iteration else ""),
            evidence={"updates_before": before.iteration, "updates": after.iteration},
            fix="set the seed once, before the loop; in an evaluation, seed inside `with torch.random.fork_rng():`",
        )
    else:
        yield from _same_order(events, loaders)
    for loader in loaders.training:
        if loader.worker_generators and loader.workers > 1:
            yield Finding(
                at=Place("", loader.location),
                message=f"the {loader.workers} workers of {loader.name} have equal copies of the generator that {loader.dataset} holds "
                f"({', '.join(loader.worker_generators)}): they draw the same numbers",
                evidence={"workers": loader.workers},
                fix="seed it in `worker_init_fn` from `torch.initial_seed()`, or draw from the global generators",
            )


def _points(events: Events, loaders: Loaders) -> list[tuple[Event, int]]:
    """The moments of training with the digest of the generators: passes and reads of its loaders, its forwards and steps."""
    trained = {loader.name for loader in loaders.training}
    found: list[tuple[Event, int]] = []
    for event in events:
        of_training = (isinstance(event, (Pass, Read)) and event.loader in trained) or isinstance(event, Step)
        if of_training or (isinstance(event, Forward) and event.backwards):
            found.append((event, event.random_state))  # type: ignore[attr-defined]
    return found


def _returned(events: Events, points: list[tuple[Event, int]]) -> tuple[Seed | None, Event, Event] | None:
    """A state that comes back after training drew from it, with an update in between and the same optimizer after."""
    seen: dict[int, int] = {}
    for position, (event, state) in enumerate(points):
        first = seen.setdefault(state, position)
        before = points[first][0]
        left = any(other != state for _, other in points[first:position])
        if left and event.iteration > before.iteration and not _begins_anew(events, before, event):
            seeds = events.between(before, event, Seed)
            return (seeds[-1] if seeds else None), before, event
    return None


def _seeded_again(events: Events, points: list[tuple[Event, int]]) -> tuple[Seed, Event, Event] | None:
    """A seed that has been set to this value before, and that training goes on from."""
    seeds = [seed for seed in events.seeds if seed.value is not None]
    for number, seed in enumerate(seeds):
        first = next((old for old in seeds[:number] if (old.what, old.value) == (seed.what, seed.value)), None)
        before = [point for point in points if point[0].index < seed.index]
        after = [point for point in points if point[0].index > seed.index]
        if (
            first is None
            or not before
            or not after
            or not seed.iteration
            or _begins_anew(events, before[-1][0], after[0][0])
        ):
            continue
        restored = after[0][1] == before[-1][1]
        draws = any(one != two for (_, one), (_, two) in pairwise(after))
        if not restored and draws:
            return seed, before[-1][0], after[0][0]
    return None


def _begins_anew(events: Events, before: Event, after: Event) -> bool:
    """Whether an optimizer was made in between: another run."""
    return any(event.what == "optimizer" for event in events.between(before, after, Made))


def _same_order(events: Events, loaders: Loaders) -> Iterator[Finding]:
    """A generator of the loader's own that begins each pass in the same state."""
    orders: dict[object, tuple[LoaderFacts, Read]] = {}
    for read in loaders.reads:
        loader = loaders[read.loader]
        if read.number or not loader.shuffled or loader.replicas or not loader.training or len(read.indices) < _SAMPLES:
            continue
        known, first = orders.setdefault((loader.location, loader.dataset_key), (loader, read))
        if first is not read and first.indices == read.indices and not _begins_anew(events, first, read):
            yield Finding(
                at=Place("", known.location),
                message=f"{known.name} shuffles into the same order in each pass: its first batch has the same {len(read.indices)} samples "
                "again",
                evidence={"samples": len(read.indices), "passes": read.pass_},
                fix="make the loader's generator once, before the loop, and do not seed it again",
            )
            return
