"""ARC020: nothing to train."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Place, rule

if TYPE_CHECKING:
    from nnlint import Model, Parameters


@rule(
    "ARC020", "no-trainable-parameters", level="error", since="0.1")  # fmt: skip
def check(parameters: Parameters, model: Model) -> Iterator[Finding]:
    """No parameter is trainable, or only those of normalization layers are.

    ## What it does
    Looks at `requires_grad` of every parameter of the model.

    ## Why is this bad?
    Training changes nothing (or moves only scales and shifts of norms), at the full price of a training run. Mostly a
    `requires_grad_(False)` that was meant for the backbone caught the head as well, or stayed from an earlier stage.

    ## Example
        model = backbone_with_head()
        model.requires_grad_(False)

    ## Use instead
        model.requires_grad_(False)
        model.head.requires_grad_(True)

    ## References
    - PyTorch: Transfer learning tutorial, the network as a fixed feature extractor
    """
    total, trainable = len(parameters), parameters.trainable
    if not trainable:
        reason = f"none of {total} parameters has requires_grad=True" if total else "the model lists no parameter"
        yield Finding(
            at=Place(),
            message=f"there is nothing to train: {reason}",
            evidence={"parameters": total, "trainable": 0},
            fix=_fix(total, model),
        )
        return
    frozen = [view for view in parameters if not view.requires_grad and view.kind != "norm"]
    if frozen and all(view.kind == "norm" for view in trainable):
        yield Finding(
            at=Place(),
            message=f"only normalization layers are trainable ({len(trainable)} parameters); "
            f"all {len(frozen)} others are frozen, the head too",
            evidence={"parameters": total, "trainable": len(trainable), "frozen": len(frozen)},
            fix=f"requires_grad_(True) on the last layer at least ({frozen[-1].module_path or 'the head'})",
        )


def _fix(total: int, model: Model) -> str:
    if not total:
        return "register the layers: assign them in __init__, lists of them as nn.ModuleList"
    if model.named("PeftModel"):
        return "PeftModel.from_pretrained(model, path, is_trainable=True): an adapter is loaded for inference otherwise"
    return "requires_grad_(True) on the part that is to learn"
