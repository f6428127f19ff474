"""TRN003: an update changes a parameter that is meant to be frozen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Place, rule
from nnlint_rules._shared.words import counted, listed

if TYPE_CHECKING:
    from nnlint import Declared, StepStats, TrackedParameter


@rule("TRN003", "frozen-parameter-moved", level="error", since="0.1")
def check(steps: StepStats, declared: Declared) -> Iterator[Finding]:
    """A parameter that is meant to be frozen changes when the optimizer steps.

    ## What it does
    Compares, before and after a few real updates, the parameters declared frozen (`frozen=("backbone.*",)`) and those with
    `requires_grad=False`. What the forward itself writes (the moving average of a teacher) is not counted: only what an update
    of the optimizer changed.

    ## Why is this bad?
    A backbone thought to be frozen drifts: features that others rely on change, and memory and time go into gradients nobody
    wanted. Parameters that share their memory with trainable ones move although they require no gradient.

    ## Example
        model.backbone.requires_grad = False     # sets an attribute of the module and freezes nothing

    ## Use instead
        model.backbone.requires_grad_(False)

    ## References
    - PyTorch: `torch.nn.Module.requires_grad_`
    """
    steps.require_own_optimizer()
    moved = [item for item in steps.parameters if declared.is_frozen(item.name) and item.moved > 0.0]
    by_update = set(steps.frozen_moved)
    moved = [item for item in moved if item.requires_grad or item.name in by_update]
    shared = [item for item in steps.parameters if item.name in by_update and item not in moved]
    if moved:
        yield _finding(
            moved,
            steps,
            reason="declared frozen but trainable" if moved[0].requires_grad else "declared frozen",
            fix="freeze it for real: `module.requires_grad_(False)` on the module, before the optimizer is made",
        )
    if shared:
        yield _finding(
            shared,
            steps,
            reason="with requires_grad=False, written by an update: it shares its memory with a trainable tensor, or has an old gradient",
            fix="give it memory of its own (`.detach().clone()`), keep it out of the optimizer, and clear its gradient",
        )


def _finding(moved: list[TrackedParameter], steps: StepStats, *, reason: str, fix: str) -> Finding:
    names = [item.name for item in moved]
    shown = listed(names, limit=3)
    relative = max(item.moved / item.weight_norm if item.weight_norm else item.moved for item in moved)
    return Finding(
        at=Place(moved[0].module_path, moved[0].location),
        message=f"{shown} ({reason}) moved by up to {relative:.2g} of its norm in {counted(steps.steps, 'update')}",
        evidence={"parameters": [*names], "relative_change": relative, "updates": steps.steps},
        fix=fix,
        modules=tuple(dict.fromkeys(item.module_path for item in moved)),
    )
