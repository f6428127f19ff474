"""DAT001: inputs on a scale the first layer is not made for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint_rules.data._inputs import routes
from nnlint_rules.data._scales import is_normal_noise, is_normalized, raw_pixels

if TYPE_CHECKING:
    from nnlint import Batch, BatchTensor, Graph, InputScaling, ScaledInput


class UnscaledInput(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#input-scale.

    `rescaled`: deviations of pictures are 0.2 to 0.35, so that a second division gives 2.9 to 5, and ranges mapped to each other
    ([-1, 1] to [0, 1]) give 0.5 to 2.
    """

    offset: float = Field(10.0, description="|mean| over std")
    std: float = Field(20.0, description="largest standard deviation")
    tiny_std: float = Field(0.01, description="smallest standard deviation")
    rescaled: float = Field(
        2.5, description="factor by which the model's normalization moves the deviation of inputs that are standardized already"
    )


@rule("DAT001", "unscaled-input", level="warning", since="0.1")
def check(batch: Batch, graph: Graph, scaling: InputScaling | None, options: UnscaledInput) -> Iterator[Finding]:
    """Floating-point inputs far from zero mean and unit scale.

    ## What it does
    Reports input tensors whose mean is more than 10 standard deviations from zero, whose standard deviation is above 20 or
    below 0.01, and images whose values run from 0 to 255. Inputs in [0, 1], standardized inputs and log-mel spectrograms are fine.
    Ids, masks, and inputs that the model itself scales (a norm or an arithmetic before its first layer, an instance norm right
    after it, as in style transfer) are not judged. Of a model that scales its inputs by constants, what reaches the first layer is
    judged instead: standardized inputs (mean 0, deviation 1) that it normalizes once more, so that their deviation grows or shrinks
    by 2.5, and inputs that it scales down to a deviation below 0.01, or moves more than 10 deviations away from zero (pixels in
    [0, 1] that it divides by 255 before it subtracts the mean). Normal noise in place of data is not judged that way.

    ## Why is this bad?
    Initializations assume inputs of scale 1. With inputs of 0..255 the first pre-activations are a hundred times too large:
    saturated or dead units, a large initial loss, and a learning rate that suits the first layer suits no other. Inputs scaled
    twice (0.004 instead of 1) leave the biases in charge.

    ## Example
        images = torch.stack([torch.from_numpy(array).float() for array in arrays])     # 0..255

    ## Use instead
        images = images / 255.0
        images = (images - mean) / std           # mean and std of the training set, per channel

    ## References
    - LeCun, Bottou, Orr and Mueller: Efficient BackProp, 1998, section 4.3
    """
    batch.require_real()
    for route in routes(batch, graph):
        tensor = route.tensor
        if not tensor.is_floating or len(tensor.shape) < 2 or not route.feeds_layers or tensor.constant:
            continue
        fault = raw_pixels(route) or _fault(tensor, options)
        if is_normalized(route, graph) and tensor.std > options.tiny_std:
            continue
        if fault is None:
            continue
        reason, fix = fault
        yield Finding(
            at=batch,
            message=f"{tensor.name} of shape {tensor.shape} {reason} (mean {tensor.mean:.3g}, std {tensor.std:.3g}, "
            f"range [{tensor.min:.3g}, {tensor.max:.3g}]), and is passed to {route.layers[0].label} unscaled",
            evidence={
                "input": tensor.name,
                "mean": tensor.mean,
                "std": tensor.std,
                "min": tensor.min,
                "max": tensor.max,
                "offset_limit": options.offset,
                "std_limit": options.std,
                "tiny_std": options.tiny_std,
            },
            fix=fix,
            modules=tuple(dict.fromkeys(op.module_path for op in route.layers)),
        )
    given = {tensor.name: tensor for tensor in batch.inputs}
    for scaled in scaling.inputs if scaling is not None else ():
        yield from _of_model(scaled, _named(scaled.name, given), graph, options)


def _named(label: str, given: dict[str, BatchTensor]) -> BatchTensor | None:
    """The tensor of the batch that an input of the graph stands for: by its key, or the only one."""
    found = next((tensor for name, tensor in given.items() if name.endswith(f"[{label!r}]")), None)
    return found or (next(iter(given.values())) if len(given) == 1 else None)


def _of_model(scaled: ScaledInput, tensor: BatchTensor | None, graph: Graph, options: UnscaledInput) -> Iterator[Finding]:
    """What the model's own arithmetic makes of inputs that were scaled before."""
    if tensor is None or not tensor.is_floating or not tensor.finite or tensor.constant:
        return
    factor = scaled.std / tensor.std
    twice = (
        scaled.is_standardizing
        and abs(tensor.mean) < 0.5 < tensor.std < 2.0
        and tensor.min < 0.0
        and not is_normal_noise(tensor)
        and not 1.0 / (4.0 * options.rescaled) < factor < options.rescaled
    )
    tiny = scaled.std < options.tiny_std <= tensor.std and scaled.largest < 10.0 * options.tiny_std
    shifted = abs(scaled.mean) > options.offset * scaled.std and abs(tensor.mean) <= options.offset * tensor.std
    if not twice and (not (tiny or shifted) or any(op.is_kind("norm") for op in graph.consumers(scaled.layer))):
        return
    what = "are standardized already, and the model normalizes them once more" if twice else "are scaled down by the model"
    if shifted and not twice:
        what = f"are moved more than {options.offset:g} standard deviations away from zero by the model"
    yield Finding(
        at=scaled.op,
        message=f"{tensor.name} (mean {tensor.mean:.3g}, std {tensor.std:.3g}) {what}: {scaled.layer.label} gets mean "
        f"{scaled.mean:.3g}, std {scaled.std:.3g}",
        evidence={
            "input": tensor.name,
            "mean": tensor.mean,
            "std": tensor.std,
            "mean_after": scaled.mean,
            "std_after": scaled.std,
            "factor": factor,
            "limit": options.rescaled,
        },
        fix="normalize in one place only: take the normalization out of the data (transforms.Normalize, / 255), or out of the forward",
        modules=(scaled.layer.module_path,),
    )


def _fault(tensor: BatchTensor, options: UnscaledInput) -> tuple[str, str] | None:
    mean, std = tensor.mean, tensor.std
    standardize = "standardize: (x - mean) / std, both taken from the training set for each feature or channel"
    if std > options.std:
        return f"has a standard deviation above {options.std:g}", standardize
    if abs(mean) > options.offset * std:
        return f"is more than {options.offset:g} standard deviations away from zero", standardize
    # Sparse inputs (tf-idf, one-hot) have a small deviation too, but large entries.
    if std < options.tiny_std and max(abs(tensor.min), abs(tensor.max)) < 10.0 * options.tiny_std:
        fix = f"check whether the data is scaled twice (divided by 255 again); {standardize}"
        return f"has a standard deviation below {options.tiny_std:g}", fix
    return None
