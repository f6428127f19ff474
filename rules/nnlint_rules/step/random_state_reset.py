"""STP017: training draws the same random numbers again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Place, Read, rule
from nnlint_rules.step._rewound import KINDS, begins_anew, rewinding, training_points
from nnlint_rules.step._steps import at, stepped

if TYPE_CHECKING:
    from nnlint import Events, LoaderFacts, Loaders

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
    points = training_points(events, loaders)
    rewound = next((found for kind in KINDS if (found := rewinding(events, points, kind)) is not None), None)
    if rewound is not None:
        seed, before, after = rewound[:3]
        yield Finding(
            at=at(seed or after),
            message=f"training draws the same {rewound[3]} random numbers again: "
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


def _same_order(events: Events, loaders: Loaders) -> Iterator[Finding]:
    """A generator of the loader's own that begins each pass in the same state."""
    orders: dict[object, tuple[LoaderFacts, Read]] = {}
    for read in loaders.reads:
        loader = loaders[read.loader]
        if read.number or not loader.shuffled or loader.replicas or not loader.training or len(read.indices) < _SAMPLES:
            continue
        known, first = orders.setdefault((loader.location, loader.dataset_key), (loader, read))
        if first is not read and first.indices == read.indices and not begins_anew(events, first, read):
            yield Finding(
                at=Place("", known.location),
                message=f"{known.name} shuffles into the same order in each pass: its first batch has the same {len(read.indices)} samples "
                "again",
                evidence={"samples": len(read.indices), "passes": read.pass_},
                fix="make the loader's generator once, before the loop, and do not seed it again",
            )
            return
