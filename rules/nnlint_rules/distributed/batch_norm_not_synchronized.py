"""DST004: batch norm on a few samples of each rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Skip, rule
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Events


class BatchNormNotSynchronized(Options):
    """Thresholds. No calibration: the catalogue's number, the batch below which group norm overtakes batch norm (Wu and He, 2018)."""

    samples: int = Field(16, description="samples of a rank below which the statistics are called small")


@rule("DST004", "batch-norm-not-synchronized", level="info", since="0.1")
def check(events: Events, options: BatchNormNotSynchronized) -> Iterator[Finding]:
    """Batch norm whose statistics come from fewer than 16 samples of one rank.

    ## What it does
    Reports, in a process group, models with batch norm that is not synchronized where a rank's batch is small.

    ## Why is this bad?
    The statistics are noisy, and they differ between ranks; the batch of all ranks together would have been large enough.

    ## Example
        model = DistributedDataParallel(resnet18())      # 4 samples a GPU

    ## Use instead
        model = DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(resnet18()))

    ## References
    - PyTorch: `torch.nn.SyncBatchNorm`
    - Wu and He, 2018, "Group Normalization", arXiv:1803.08494
    """
    if events.group is None or events.group.world < 2:
        raise Skip("needs several processes, got one")
    for name, module in events.modules.items():
        forwards = [forward for forward in events.training_forwards if forward.module == name and forward.training]
        small = [
            forward for forward in forwards if 0 < forward.samples < options.samples and any(forward.buffers_changed)
        ]
        if not module.batch_norms or not small or name not in events.group.wrappers:
            continue
        yield Finding(
            at=at(small[0]),
            message=f"{len(module.batch_norms)} batch norms of {name} ({module.type}) see {small[0].samples} samples on each of "
            f"{events.group.world} ranks (limit {options.samples})",
            evidence={"samples": small[0].samples, "limit": options.samples, "layers": len(module.batch_norms)},
            fix="convert them before wrapping: `nn.SyncBatchNorm.convert_sync_batchnorm(model)`; or use group norm",
        )
