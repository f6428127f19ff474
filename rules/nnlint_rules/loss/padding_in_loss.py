"""LOS028: padded target positions count in the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Place, rule
from nnlint.kinds import CLASS_LOSSES

if TYPE_CHECKING:
    from nnlint import Declared, Graph, LossCall, PaddingInLoss, PaddingStats


class PaddingShare(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#padding."""

    share: float = Field(0.01, description="share of the gradient with respect to the outputs at padded positions")


@rule("LOS028", "padding-in-loss", level="warning", since="0.1")
def check(padding: PaddingStats, graph: Graph, declared: Declared, options: PaddingShare) -> Iterator[Finding]:
    """Padded positions of the targets contribute to the loss.

    ## What it does
    Finds the padded positions of the targets (a padding id, a constant end of different lengths, the padding of the inputs that
    they belong to) and measures which share of the gradient with respect to the outputs lies there, and which share of the loss.
    The first padded position of each sample is left out: it may be the end token. More than 0.01 of the gradient is reported.
    `declared={"padding-in-loss"}` silences the rule. Targets without padding are skipped.

    ## Why is this bad?
    Padding is easy to predict, so the loss looks low and falls fast while the content is learned slowly: part of every
    update goes into saying "padding", and long samples count less than short ones. A generator learns to pad.

    ## Example
        loss = F.cross_entropy(logits.transpose(1, 2), targets)

    ## Use instead
        loss = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=PAD)

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss` (ignore_index)
    - https://github.com/huggingface/transformers/issues/29819
    """
    if "padding-in-loss" in declared.traits:
        return
    found = padding.in_loss
    if found.gradient <= options.share:
        return
    call = next(iter(graph.loss_calls), None)
    lost = f" and {found.loss:.0%} of the loss" if found.loss is not None and found.loss > 0 else ""
    yield Finding(
        at=call if call is not None else Place("", graph.loss.location if graph.loss is not None else None),
        message=f"padding gives {found.gradient:.0%} of the loss's gradient{lost} (limit {options.share:.0%}): "
        f"{found.positions:.0%} of the positions of {found.target} are padding, told by {found.known_by}",
        evidence={
            "gradient_share": found.gradient,
            "loss_share": found.loss,
            "limit": options.share,
            "positions": found.positions,
            "value": found.value,
            "targets": found.target,
        },
        fix=_fix(found, call),
    )


def _fix(found: PaddingInLoss, call: LossCall | None) -> str:
    if call is not None and call.kind in CLASS_LOSSES:
        if found.target == "labels":
            return "set labels to -100 at padding: labels = labels.masked_fill(labels == tokenizer.pad_token_id, -100)"
        if found.value is not None:
            return (
                f"leave the padding out: ignore_index={found.value:g} in the loss; if {found.value:g} is a class as well, set padded "
                "targets to -100"
            )
        return "set padded targets to -100, which cross_entropy ignores"
    return 'weight by the mask: loss = (criterion(outputs, targets) * mask).sum() / mask.sum(), with reduction="none"'
