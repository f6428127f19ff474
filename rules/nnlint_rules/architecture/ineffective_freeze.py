"""ARC025: an attribute that freezes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Model, ModuleView

_MISSPELT = re.compile(r"_?requires?_?_?grads?", re.IGNORECASE)


@rule("ARC025", "ineffective-freeze", level="warning", since="0.1")
def check(model: Model) -> Iterator[Finding]:
    """`requires_grad` set where it has no effect.

    ## What it does
    Reports modules that carry `requires_grad` as a plain attribute while parameters below them still are as before, and
    parameters that carry a misspelt one (`require_grad`).

    ## Why is this bad?
    `nn.Module` has no such attribute: assigning it freezes (or unfreezes) nothing and raises nothing. The layers that were to be
    frozen are trained and lose what they had learned.

    ## Example
        model.backbone.requires_grad = False

    ## Use instead
        model.backbone.requires_grad_(False)

    ## References
    - PyTorch: `torch.nn.Module.requires_grad_`
    """
    for flag in model.module_level_flags:
        view = model.find(flag.module_path)
        total = sum(len(other.parameters) for other in model.modules if _is_below(other, flag.module_path))
        missed = flag.trainable if not flag.value else total - flag.trainable
        if view is not None and missed > 0:
            yield Finding(
                at=view,
                message=f"{flag.name} = {flag.value} is a plain attribute of {flag.label}: {missed} of its {total} parameters "
                f"{'still require' if not flag.value else 'do not require'} a gradient",
                evidence={"value": flag.value, "parameters": total, "unaffected": missed},
                fix=f"`self.{flag.module_path or 'model'}.requires_grad_({flag.value})`",
            )
    for view in model.modules:
        yield from _misspelt(view)


def _is_below(view: ModuleView, path: str) -> bool:
    return not path or view.module_path == path or view.module_path.startswith(f"{path}.")


def _misspelt(view: ModuleView) -> Iterator[Finding]:
    for name in view.parameters:
        leaf = name.removeprefix(f"{view.module_path}.")
        parameter = view.attribute(leaf)
        extra = [
            key
            for key, value in getattr(parameter, "__dict__", {}).items()
            if _MISSPELT.fullmatch(key) and isinstance(value, bool)
        ]
        if extra and bool(vars(parameter)[extra[0]]) != bool(parameter.requires_grad):
            yield Finding(
                at=view,
                message=f"{name} carries an attribute {extra[0]!r}, which torch does not know: "
                f"its requires_grad is {bool(parameter.requires_grad)}",
                evidence={"attribute": extra[0], "requires_grad": bool(parameter.requires_grad)},
                fix=f"`{leaf}.requires_grad = {bool(vars(parameter)[extra[0]])}`",
            )
