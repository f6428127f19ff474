"""LOS025: no target of the batch counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint.kinds import CLASS_LOSSES
from nnlint_rules.loss._heads import counted_targets

if TYPE_CHECKING:
    from nnlint import LossCalls, LossResponse, MeasuredLoss


@rule("LOS025", "all-targets-ignored", level="error", since="0.1")
def check(losses: LossCalls, response: LossResponse | None) -> Iterator[Finding]:
    """Every target is ignored, or has weight 0.

    ## What it does
    Reports a `cross_entropy` or `nll_loss` where every label equals `ignore_index`, or where the class weights of all labels
    that occur are 0; and any other loss that gives no output a gradient with the targets of the batch, where it gives one with
    other targets of their kind (a mask that leaves out all of them).

    ## Why is this bad?
    The mean over no element is 0 / 0: the loss is NaN and so is every gradient (or the loss is 0 and nothing is learned).

    ## Example
        labels[attention_mask == 1] = -100  # the mask is 1 where tokens are

    ## Use instead
        labels[attention_mask == 0] = -100

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss`, `ignore_index`
    """
    losses.require_targets()
    named = False
    for call in losses.of(*CLASS_LOSSES):
        labels = counted_targets(call)
        if labels is None or call.target_value is None or call.target_value.numel() == 0:
            continue
        total, ignored = call.target_value.numel(), call.argument("ignore_index", -100)
        value = float(call.value.double().mean()) if call.value is not None else None
        if labels.numel() == 0:
            reason, fix = (
                f"all {total} labels equal ignore_index ({ignored})",
                "check which labels are set to ignore_index",
            )
        elif _weightless(call):
            kinds = sorted(labels.unique().tolist())[:5]
            reason = f"the class weights of all labels in the batch ({', '.join(map(str, kinds))}) are 0"
            fix = "give every class that occurs a positive weight"
        else:
            continue
        named = True
        yield Finding(
            at=call,
            message=f"{call.label}: {reason}; the loss is {value if value is not None else 'not defined'}",
            evidence={"labels": total, "counted": int(labels.numel()), "loss": str(value)},
            fix=fix,
        )
    if response is not None and response.deaf and not named:
        yield Finding(
            at=response,
            message=f"no target of the batch counts: the loss is {losses.value if losses.value is not None else 'not defined'}, and no "
            "output has a gradient, where other labels would give it one",
            evidence={"loss": losses.value, "gradient": 0.0},
            fix="check which labels the mask of the loss leaves out: `mask = labels != -100`",
        )


def _weightless(call: MeasuredLoss) -> bool:
    """Whether the loss is 0 or NaN by its weights alone: they are given, and the logits and labels would make it positive."""
    import torch

    if call.argument("weight") is None or call.value is None or call.prediction_value is None:
        return False
    if not bool(torch.isfinite(call.prediction_value).all()) or call.prediction_value.dim() < 2:
        return False
    if call.prediction_value.shape[1] < 2:
        return False
    return bool((torch.isnan(call.value) | (call.value == 0)).all())
