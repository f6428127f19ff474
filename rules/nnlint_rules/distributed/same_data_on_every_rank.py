"""DST002: all ranks train on the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Place, Skip, rule

if TYPE_CHECKING:
    from nnlint import Loaders, Ranks


@rule("DST002", "same-data-on-every-rank", level="error", since="0.1")
def check(ranks: Ranks) -> Iterator[Finding]:
    """Every rank reads the same batches.

    ## What it does
    Compares the samples of the training batches across ranks. Reports ranks whose first batches hold the very same samples, batch after
    batch: the loader has no sampler that divides the dataset.

    ## Why is this bad?
    N processes do the work of one: the averaged gradient is that of a single batch, and an epoch costs N times what it should.

    ## Example
        loader = DataLoader(dataset, batch_size=32, shuffle=True)

    ## Use instead
        sampler = DistributedSampler(dataset)
        loader = DataLoader(dataset, batch_size=32, sampler=sampler)

    ## References
    - PyTorch: `torch.utils.data.distributed.DistributedSampler`
    """
    if ranks.world < 2:
        raise Skip("needs several processes, got one")
    if not _is_data_parallel(ranks):
        raise Skip("no data-parallel wrapper was seen: the ranks may hold parts of one model")
    read = [_batches(loaders) for loaders in ranks.loaders.values()]
    shared = min((len(batches) for batches in read), default=0)
    if shared < 2:
        raise Skip("too few training batches were read on every rank")
    same = sum(len({batches[position] for batches in read}) == 1 for position in range(shared))
    if same == shared:
        loader = next(iter(ranks.loaders[min(ranks.loaders)].training))
        yield Finding(
            at=Place("", loader.location),
            message=f"all {ranks.world} ranks train on the same samples: {same} of {shared} batches of "
            f"{loader.name} are equal on every rank",
            evidence={"batches": shared, "equal": same, "ranks": ranks.world, "sampler": loader.sampler},
            fix="give the loader `sampler=DistributedSampler(dataset)` (and no `shuffle`)",
        )


def _is_data_parallel(ranks: Ranks) -> bool:
    wrappers = {
        wrapper
        for events in ranks.events.values()
        if events.group is not None
        for wrapper in events.group.wrappers.values()
    }
    return any("DataParallel" in wrapper or "FSDP" in wrapper or "FullySharded" in wrapper for wrapper in wrappers)


def _batches(loaders: Loaders) -> list[frozenset[int]]:
    """The samples of each training batch; batches without hashes are left out."""
    names = {loader.name for loader in loaders.training}
    return [frozenset(read.samples) for read in loaders.reads if read.loader in names and read.samples]
