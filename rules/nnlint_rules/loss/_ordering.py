"""Whether numbers that label samples follow an order that the inputs know: grades and amounts do, class numbers do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch

_FEATURES = 4096
#: Variance between the classes over that within, from which the inputs tell the classes apart.
_DISTINCT = 2.0


def order_explains(batch: Batch, labels: Tensor) -> float | None:
    """Share of the differences between the classes' mean inputs that the order of their numbers explains.

    Args:
        batch: its inputs have one row for each label.
        labels: whole numbers, one for each sample.

    Returns:
        1 for classes that lie on a line in the order of their numbers, about 1 / (classes - 1) for any others; None where the
        inputs do not tell the classes apart.
    """
    import torch

    rows = next((view.tensor for view in batch.inputs if view.is_floating and view.samples == len(labels)), None)
    if rows is None or rows.layout is not torch.strided or not bool(rows.isfinite().all()):
        return None
    x = rows.reshape(len(labels), -1).double()
    x = x[:, :: max(1, x.shape[1] // _FEATURES)]
    classes, place, counts = labels.unique(return_inverse=True, return_counts=True)
    if len(classes) < 3 or int(counts.min()) < 3:
        return None
    x = (x - x.mean(0)) / x.std(0).clamp(min=1e-12)
    means = x.new_zeros(len(classes), x.shape[1]).index_add(0, place, x) / counts[:, None]
    within = float(((x - means[place]) ** 2).sum()) / (len(x) - len(classes))
    between = float((counts[:, None] * means**2).sum()) / (len(classes) - 1)
    if within <= 0 or between / within < _DISTINCT:
        return None
    # Means are noisy: a share of their spread would be there without any difference.
    noise = within * float((1 / counts.double()).mean())
    order = classes.double() - classes.double().mean()
    order /= order.norm()
    centred = means - means.mean(0)
    total = float((centred**2).sum()) - noise * (len(classes) - 1)
    along = float(((order @ centred) ** 2).sum()) - noise
    return min(max(along, 0.0) / total, 1.0) if total > 0 else None
