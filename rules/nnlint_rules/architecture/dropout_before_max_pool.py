"""ARC023: dropout that feeds a max pooling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Graph, Op

#: Keep the order of values, so that the largest of a window is the same before and after.
_MONOTONE = ("view", "identity", "cast", "rectifier")


@rule("ARC023", "dropout-before-max-pool", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Dropout feeding a max pooling.

    ## What it does
    Reports an active dropout whose output reaches a max pooling directly or through views and rectifiers. Dropping whole
    channels (Dropout2d) and average pooling keep the mean and are left alone.

    ## Why is this bad?
    Dropout scales what it keeps by 1 / (1 - p) so that the mean stays; the maximum of a window does not average the dropped
    values with the scaled ones but takes a scaled one whenever one is left. The mean after the pooling is larger in training
    than in evaluation (1.23 times for p = 0.5 and 2 x 2 windows of a trained net), a shift that the layers after it never learn.

    ## Example
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2)

    ## Use instead
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5)

    ## References
    - Wu and Gu, 2015, arXiv:1512.00242: Towards dropout training for convolutional neural networks
    - docs/evidence/calibration.md#dropout-before-max-pool
    """
    for op in graph.calls("dropout"):
        probability = op.argument("p", 0.5)
        if op.is_kind("channel-dropout", "alpha-dropout") or not _is_active(op) or not probability:
            continue
        for pool in graph.consumers(op, through=_MONOTONE):
            if pool.is_kind("max-pool") and _window(pool) != 1:
                yield Finding(
                    at=op,
                    message=f"{op.label} (p = {probability:g}) feeds {pool.label}: the maximum of values scaled by "
                    f"{1 / max(1 - probability, 1e-9):.3g} is larger in training than in evaluation",
                    evidence={"p": float(probability), "pool": pool.label},
                    fix=f"put the dropout after {pool.label}",
                    modules=(pool.module_path,),
                )
                break


def _is_active(op: Op) -> bool:
    return bool(op.argument("training", op.training))


def _window(pool: Op) -> int | None:
    size = pool.argument("kernel_size")
    if isinstance(size, int):
        return size
    return 1 if isinstance(size, (list, tuple)) and all(extent == 1 for extent in size) else None
