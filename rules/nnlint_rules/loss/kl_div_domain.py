"""LOS022: KLDivLoss on values that are not what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nnlint import Finding, Level, Options, rule
from nnlint_rules.loss._heads import thinned

if TYPE_CHECKING:
    from nnlint import LossCalls, MeasuredLoss


class Domain(Options):
    """Tolerances; calibration: docs/evidence/calibration.md#log-probabilities."""

    tolerance: float = 0.05  # of a row's sum of probabilities from 1
    share: float = 0.5  # of the rows beyond it before the rule speaks: padding rows may hold anything


@rule("LOS022", "kl-div-domain", level="error", since="0.1")
def check(losses: LossCalls, options: Domain) -> Iterator[Finding]:
    """KL divergence of values that are not distributions.

    ## What it does
    Looks at what `kl_div` (nn.KLDivLoss) is given: the input has to be log-probabilities, the target probabilities, or
    log-probabilities with `log_target=True`. `reduction="mean"`, the default, is reported as info: it divides by the number of
    entries, not of samples.

    ## Why is this bad?
    `kl_div(input, target)` is sum(target * (log target - input)). With probabilities as input it is no divergence: it can be
    negative, and its gradient does not depend on the input at all.

    ## Example
        F.kl_div(student.softmax(1), teacher.softmax(1))

    ## Use instead
        F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")

    ## References
    - PyTorch: `torch.nn.KLDivLoss`: "expects the argument input in the log-space"
    - https://github.com/pytorch/pytorch/issues/7006
    """
    losses.require_values()
    for call in losses.of("kl_div"):
        faults = list(_faults(call, options, targets=not losses.targets_assumed))
        for what, distance, fix in faults:
            yield Finding(
                at=call,
                message=f"{call.label}: {what} (sums of probabilities are {distance:.3g} away from 1, limit {options.tolerance:g})",
                evidence={"distance": distance, "limit": options.tolerance},
                fix=fix,
            )
        if not faults and call.argument("reduction", "mean") == "mean":
            yield Finding(
                at=call,
                level=Level.INFO,
                message=f'{call.label}: reduction="mean" divides by all entries, not by the samples: not the KL divergence',
                evidence={"reduction": "mean"},
                fix='use reduction="batchmean"',
            )


def _faults(call: MeasuredLoss, options: Domain, *, targets: bool) -> Iterator[tuple[str, float, str]]:
    if call.prediction_value is not None:
        distance = _distance(thinned(call.prediction_value), options, logarithmic=True)
        if distance is not None:
            yield "the input is not log-probabilities", distance, "apply log_softmax (not softmax) to the input"
    if call.target_value is not None and targets:
        logarithmic = bool(call.argument("log_target"))
        distance = _distance(thinned(call.target_value), options, logarithmic=logarithmic)
        if distance is not None:
            wanted = "log-probabilities, as log_target=True says" if logarithmic else "probabilities"
            fix = (
                "apply log_softmax to the target"
                if logarithmic
                else "apply softmax to the target, or set log_target=True"
            )
            yield f"the target is not {wanted}", distance, fix


def _distance(values: Any, options: Domain, *, logarithmic: bool) -> float | None:
    """Median distance of the rows' sums from 1, over the best dimension; None when they are distributions."""
    import torch

    if values.numel() == 0 or values.dim() == 0 or bool(torch.isnan(values).any()):
        return None
    negative = not logarithmic and float(values.min()) < -options.tolerance
    probabilities = values.clamp(max=50).exp() if logarithmic else values
    distances = []
    for dims in _groupings(values.dim()):
        off = (probabilities.sum(dim=dims) - 1).abs().reshape(-1)
        if float((off > options.tolerance).double().mean()) <= options.share and not negative:
            return None
        distances.append(float(off.median()))
    return min(distances)


def _groupings(rank: int) -> list[tuple[int, ...]]:
    """Dimensions that a distribution may run over: the last, the classes, or everything but the batch."""
    if rank == 1:
        return [(0,)]
    return list(dict.fromkeys([(rank - 1,), (1,), tuple(range(1, rank))]))
