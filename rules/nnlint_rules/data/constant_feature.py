"""DAT002: inputs that do not vary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules.data._constant_inputs import constant_input, filler
from nnlint_rules.data._inputs import Route, routes

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch, Graph


class ConstantFeature(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#features."""

    samples: int = Field(32, description="samples needed to call a feature constant")
    least: int = Field(8, description="samples needed to call an input other than the first constant")
    flag_samples: int = Field(256, description="samples needed where the constant is 0 or 1: a rare flag")


@rule("DAT002", "constant-feature", level="warning", since="0.1")
def check(batch: Batch, graph: Graph, options: ConstantFeature) -> Iterator[Finding]:
    """An input feature that is the same for every sample, or an input without any variation.

    ## What it does
    An error where the first input of the model holds one single value, or the same sample over and over; and where any other
    input that the model reads (a decoder's input, a series beside others) is one single value in all batches given, after a start
    value perhaps. Masks, types of tokens, first states and single numbers for a sample are left alone; zeros in place of numbers
    are a warning. A warning where a column of a table, a channel of an image or a feature of a sequence is constant over a batch
    of 32 or more. Borders and padding are not judged (they are constant at some positions only), nor are the zeros of sparse
    tables; a column of zeros or ones may be a rare flag and counts only from 256 samples on.

    ## Why is this bad?
    A constant feature carries nothing and acts as a second bias. It usually is a trace of a fault in the reading of the data:
    a column that was not filled, a channel read twice, a normalization by a standard deviation of zero.

    ## Example
        features = torch.stack([age, income, torch.zeros_like(age) + 3.7], dim=1)

    ## Use instead
        features = torch.stack([age, income], dim=1)

    ## References
    - scikit-learn: `VarianceThreshold`
    """
    batch.require_real()
    judged = [route for route in routes(batch, graph) if route.tensor.values.numel() and route.tensor.samples > 1]
    for position, route in enumerate(judged):
        if position == 0 and (fault := _whole(route)) is not None:
            yield Finding(
                at=batch,
                level=Level.INFO if _is_condition(route, judged[1:]) else Level.ERROR,
                message=f"{route.tensor.name} of shape {route.tensor.shape} {fault}",
                evidence={"input": route.tensor.name, "mean": route.tensor.mean, "std": route.tensor.std},
                fix="look at what the loader returns, sample by sample, right before the model gets it",
            )
        elif position > 0 and (level := constant_input(route, batch, options.least)) is not None:
            yield Finding(
                at=batch,
                level=level,
                message=f"{route.tensor.name} of shape {route.tensor.shape} contains only {filler(route.tensor):g}"
                f"{'' if route.tensor.constant else ' after its first position'} in all batches given, and goes into "
                f"{route.takers[0].label}",
                evidence={"input": route.tensor.name, "value": filler(route.tensor), "shape": list(route.tensor.shape)},
                fix=f"look at how {route.tensor.name} is filled; drop it if it is not meant to vary",
                modules=tuple(dict.fromkeys(op.module_path for op in route.takers)),
            )
        elif route.feeds_layers and route.tensor.is_floating and not _has_positions(route):
            yield from _columns(route, batch, options)


def _whole(route: Route) -> str | None:
    tensor = route.tensor.by_sample
    if route.tensor.constant:
        return f"contains only {route.tensor.min:g}"
    if bool((tensor == tensor[:1]).all()):
        return f"holds the same sample {route.tensor.samples} times"
    return None


def _is_condition(route: Route, others: list[Route]) -> bool:
    """Whether the batch shares this input on purpose: another one, no smaller, tells its samples apart (rays from one camera)."""
    if route.tensor.constant:
        return False
    varied = [other.tensor.by_sample for other in others if other.tensor.samples == route.tensor.samples]
    size = route.tensor.by_sample[0].numel()
    return any(view[0].numel() >= size and not bool((view == view[:1]).all()) for view in varied)


def _has_positions(route: Route) -> bool:
    """Whether the columns of a table are positions of a sequence: the first of them may well be the same in all samples."""
    return len(route.tensor.shape) == 2 and any(op.is_kind("recurrent", "conv", "attention") for op in route.first)


def _columns(route: Route, batch: Batch, options: ConstantFeature) -> Iterator[Finding]:
    view = route.tensor
    if view.samples < options.samples or len(view.shape) < 2 or not view.finite or view.constant:
        return
    values = _features_last(view.tensor, channels=all(op.is_kind("conv") for op in route.first))
    low, high = values.amin(0), values.amax(0)
    constant = low == high
    flags = constant & ((low == 0) | (low == 1))
    sparse = float((view.values == 0).double().mean()) > 0.5
    if sparse or view.samples < options.flag_samples:
        constant &= ~flags
    found = constant.nonzero()[:, 0].tolist()
    if not found or len(found) == constant.numel():
        return
    word = "channels" if len(view.shape) > 3 else "features"
    shown = ", ".join(f"{index} (always {float(low[index]):.4g})" for index in found[:5])
    yield Finding(
        at=batch,
        message=f"{len(found)} of {constant.numel()} {word} of {view.name} are the same in all {view.samples} samples: {shown}",
        evidence={
            "input": view.name,
            "constant": list(found[:100]),
            "features": constant.numel(),
            "samples": view.samples,
        },
        fix="drop them, or fix the code that reads the data and leaves them empty",
    )


def _features_last(tensor: Tensor, *, channels: bool) -> Tensor:
    """One row for each sample and position, one column for each feature: (N, F), (N, T, F), (N, C, T) or (N, C, H, W)."""
    first = tensor.dim() > 3 or (tensor.dim() == 3 and channels)
    return tensor.movedim(1, -1).flatten(0, -2) if first else tensor.flatten(0, -2)
