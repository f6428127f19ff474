"""NRM009: batch norm over a handful of values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint_rules._shared.words import listed, paths
from nnlint_rules.normalization._layers import uses_batch_statistics

if TYPE_CHECKING:
    from nnlint import Batch, Graph


class TinyNormBatch(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#norm-batch."""

    values: int = Field(default=8, description="fewest values of a channel that give usable statistics")


@rule("NRM009", "tiny-norm-batch", level="warning", since="0.1")
def check(graph: Graph, batch: Batch, options: TinyNormBatch) -> Iterator[Finding]:
    """Batch norm whose mean and variance come from fewer than eight values of a channel.

    ## What it does
    Counts samples times positions of every batch norm that uses the statistics of the batch. Inputs made up by nnlint
    are no evidence, and the rule is skipped for them.

    ## Why is this bad?
    The deviation of 4 values is off by a third, and differently in each batch: every sample is scaled at random, and
    the running statistics that evaluation uses are far from those of any training batch.

    ## Example
        DataLoader(data, batch_size=4)      # and nn.BatchNorm1d in the head

    ## Use instead
        DataLoader(data, batch_size=32)     # or nn.LayerNorm / nn.GroupNorm

    ## References
    - Wu and He: Group Normalization, 2018, arXiv:1803.08494, figure 1
    """
    norms = [norm for norm in graph.calls("batch-norm") if uses_batch_statistics(norm) and len(norm.shape or ()) > 1]
    if not norms:
        return
    batch.require_real()
    counts = {norm: math.prod(norm.shape or ()) // max((norm.shape or (1, 1))[1], 1) for norm in norms}
    tiny = {norm: count for norm, count in counts.items() if 1 < count < options.values}
    if tiny:
        first = min(tiny, key=lambda norm: tiny[norm])
        yield Finding(
            at=first,
            message=f"mean and variance of a channel come from {tiny[first]} values (limit {options.values}): "
            f"{listed(norm.label for norm in tiny)}",
            evidence={"values": {norm.label: count for norm, count in tiny.items()}, "limit": options.values},
            fix="use larger batches, or GroupNorm or LayerNorm, which do not depend on the batch",
            modules=paths(tiny),
            confidence="medium",
        )
