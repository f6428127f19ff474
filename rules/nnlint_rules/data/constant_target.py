"""DAT012: the same target for every sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, Skip, rule
from nnlint_rules.data._labels import BATCHES

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch, BatchTensor, Graph


class ConstantTarget(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#constant-target."""

    samples: int = Field(16, description="samples needed to judge")
    rare: int = Field(
        256, description="class labels from which on it is an error: a rare class may be missing in fewer"
    )


@rule("DAT012", "constant-target", level="error", since="0.1")
def check(batch: Batch, graph: Graph | None, options: ConstantTarget) -> Iterator[Finding]:
    """Every target in the data is the same.

    ## What it does
    Looks at the targets of up to 16 batches, and at those of the dataset as a whole where they are at hand (sorted data has
    many batches of one class). A loss that asks another network (a generator's, whose samples shall all pass for real) is left
    alone, and so are targets that the loss does not read (a place holder beside a loss of the outputs alone). Needs at least 16
    samples; for class labels it is an error from 256 on, since a batch may lack a rare class.

    ## Why is this bad?
    A bias alone reaches a loss of zero: the training looks perfect and nothing about the inputs is learned. Mostly a label
    column that was not read, or a filter that left one class.

    ## Example
        targets = torch.zeros(len(inputs), dtype=torch.long)        # to be filled in later

    ## Use instead
        targets = torch.tensor(frame["label"].map(classes).to_numpy())

    ## References
    - Karpathy: A Recipe for Training Neural Networks, 2019, step 1
    """
    if graph is not None and any(op.in_loss and op.is_kind("linear-map") for op in graph.ops):
        return
    if graph is not None and graph.loss is not None and batch.targets and not batch.targets_assumed and _are_unread(graph):
        return
    if not _targets(batch):
        batch.require_real_targets()
    whole = batch.dataset_targets
    if any(view.tensor.is_meta for view in _targets(batch)):
        raise Skip("the targets are on the meta device: they have no values")
    seen = [whole] if whole is not None else []
    # Targets of several tensors (boxes, masks) are constant only where each of them is.
    seen += [view.tensor for one in batch.batches(BATCHES) for view in _targets(one)] if not _varies(seen) else []
    if _varies(seen):
        return
    samples = max((view.samples for view in _targets(batch)), default=0) if whole is None else len(whole)
    samples = max(samples, sum(one.samples for one in batch.batches(BATCHES)))
    if samples < options.samples:
        raise Skip(f"needs {options.samples} samples, got {samples}")
    if not seen:
        raise Skip("the training data yields no targets: they are made elsewhere")
    value = float(seen[0].reshape(-1)[0])
    yield Finding(
        at=batch,
        level=Level.WARNING if value.is_integer() and samples < options.rare else None,
        message=f"the target is {value:g} in all {samples} samples that were looked at: a bias alone fits it",
        evidence={"value": value, "samples": samples, "limit": options.rare},
        fix="look at how the targets are read: a column that is not filled, a filter that leaves one class, a wrong index",
    )


def _are_unread(graph: Graph) -> bool:
    """Whether targets were given to the loss, and none of them is used."""
    targets = [op for op in graph.ops if op.is_kind("input") and op.node.meta.get("is_target")]
    return bool(targets) and not any(op.users for op in targets)


def _targets(batch: Batch) -> tuple[BatchTensor, ...]:
    """The targets, or the labels that a model with a loss of its own is given among its inputs."""
    if batch.targets and not batch.targets_assumed:
        return batch.targets
    return () if batch.assumed else tuple(view for view in batch.inputs if view.name.endswith("['labels']"))


def _varies(tensors: list[Tensor]) -> bool:
    filled = [tensor.reshape(-1) for tensor in tensors if tensor.numel()]
    return any(bool((values != values[0]).any()) or bool(values[0] != filled[0][0]) for values in filled)
