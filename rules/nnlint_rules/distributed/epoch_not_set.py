"""DST003: a distributed sampler repeats its order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from nnlint import Finding, Place, Skip, rule

if TYPE_CHECKING:
    from nnlint import Events, Loaders


@rule("DST003", "epoch-not-set", level="warning", since="0.1")
def check(events: Events, loaders: Loaders) -> Iterator[Finding]:
    """A DistributedSampler whose `set_epoch` is never called gives the same order in every epoch.

    ## What it does
    Compares the first batches of successive passes over a training loader with a shuffling DistributedSampler. Reports it where
    they are the same and the sampler's epoch has not changed.

    ## Why is this bad?
    The sampler's shuffle is seeded by its epoch, so that all ranks agree. Without `set_epoch` each epoch has the batches of the
    first: no batch ever mixes other samples.

    ## Example
        for epoch in range(epochs):
            for x, y in loader: ...

    ## Use instead
        for epoch in range(epochs):
            loader.sampler.set_epoch(epoch)
            for x, y in loader: ...

    ## References
    - PyTorch: `torch.utils.data.distributed.DistributedSampler`
    """
    distributed = [loader for loader in loaders.training if loader.replicas is not None]
    if not distributed:
        raise Skip("no DistributedSampler")
    if events.group is None:
        raise Skip("no process group")
    for loader in distributed:
        begins = [event for event in loaders.passes_of(loader.name) if not event.ends]
        reads = loaders.reads_of(loader.name)
        repeated = [
            (first, second)
            for first, second in pairwise(begins)
            if first.sampler_epoch == second.sampler_epoch
            and (one := [read.content for read in reads if read.pass_ == first.number][:2])
            and one == [read.content for read in reads if read.pass_ == second.number][: len(one)]
        ]
        if repeated and loader.shuffled is not False:
            yield Finding(
                at=Place("", loader.location),
                message=f"{loader.name} begins {len(repeated) + 1} epochs with the same batches: the epoch of its DistributedSampler stays "
                f"at {repeated[0][0].sampler_epoch}",
                evidence={"epochs": len(repeated) + 1, "sampler_epoch": repeated[0][0].sampler_epoch},
                fix=f"call `{loader.name}.sampler.set_epoch(epoch)` at the start of each epoch",
            )
