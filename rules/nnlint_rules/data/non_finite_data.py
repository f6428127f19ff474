"""DAT003: NaN or Inf in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.data._labels import BATCHES

if TYPE_CHECKING:
    from nnlint import Batch, BatchTensor


@rule("DAT003", "non-finite-data", level="error", since="0.1")
def check(batch: Batch) -> Iterator[Finding]:
    """NaN or Inf among the inputs or targets.

    ## What it does
    Counts NaN and Inf in every tensor of the batch and, where none has any, of the first 16 batches of the data. A float
    mask (-inf where attention is forbidden, one other value elsewhere) is no fault.

    ## Why is this bad?
    One NaN in one sample makes the loss of its batch NaN, and after the step every weight.

    ## Example
        x = torch.tensor(frame.values, dtype=torch.float32)           # missing values are NaN

    ## Use instead
        frame = frame.fillna(frame.median())                          # or drop the rows; for targets mask the loss
        x = torch.tensor(frame.values, dtype=torch.float32)

    ## References
    - PyTorch: `torch.isfinite`, `torch.nan_to_num`
    """
    for number, one in enumerate((batch, *batch.batches(BATCHES))):
        faulty = [tensor for tensor in _given(one) if not (tensor.finite or _is_mask(tensor))]
        for tensor in faulty:
            samples = _samples(tensor)
            where = f"batch {number} of the data: " if number else ""
            yield Finding(
                at=batch,
                message=f"{where}{tensor.name} holds {tensor.nan_count} NaN and {tensor.inf_count} Inf among {tensor.values.numel()} "
                f"values, in {len(samples)} of {tensor.samples} samples (first: {samples[0]})",
                evidence={
                    "tensor": tensor.name,
                    "nan": tensor.nan_count,
                    "inf": tensor.inf_count,
                    "samples": list(samples[:20]),
                },
                fix="fill or drop missing values where the data is read; check divisions and logarithms in the preprocessing",
            )
        if faulty:
            return


def _given(batch: Batch) -> tuple[BatchTensor, ...]:
    """The floating tensors that the user gave."""
    inputs = () if batch.assumed else batch.inputs
    targets = () if batch.targets_assumed else batch.targets
    return tuple(tensor for tensor in (*inputs, *targets) if tensor.is_floating)


def _is_mask(tensor: BatchTensor) -> bool:
    """-Inf in some places and one value everywhere else."""
    return tensor.nan_count == 0 and tensor.min == tensor.max and not bool((tensor.values == float("inf")).any())


def _samples(tensor: BatchTensor) -> list[int]:
    """Samples that hold something not finite."""
    bad = tensor.by_sample.to_dense().isfinite().logical_not().reshape(tensor.samples, -1).any(dim=1)
    return [int(index) for index in bad.nonzero()[:, 0]]
