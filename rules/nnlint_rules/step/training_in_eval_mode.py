"""STP007: updates are made by forwards in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Mode, Skip, rule
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Events, Forward, ModuleFacts


@rule("STP007", "training-in-eval-mode", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """The model is updated by forwards in evaluation mode.

    ## What it does
    Looks at the flags of dropout and batch norm in the forwards that updates come from. Reports a model whose updates are all made
    in evaluation mode, and as an error one that was in training mode for its first updates and is not any more: an `eval()` of a
    validation that was left on. Batch norms kept in evaluation mode inside a model in training mode, and norms whose weights are
    frozen, are a choice and not reported.

    ## Why is this bad?
    Dropout drops nothing and batch norm does not follow the data: the model trains without its regularization, on statistics of
    an earlier state. After a forgotten `train()` only the first epoch is trained as intended.

    ## Example
        for epoch in range(epochs):
            for x, y in train_loader: ...
            model.eval()
            validate(model)

    ## Use instead
        for epoch in range(epochs):
            model.train()
            for x, y in train_loader: ...
            model.eval()
            validate(model)

    ## References
    - PyTorch: `torch.nn.Module.train`, `torch.nn.Module.eval`
    """
    updating = [forward for forward in events.training_forwards if set(forward.backwards) & events.used_backwards]
    if not updating:
        raise Skip("no update was made")
    for name, module in events.modules.items():
        forwards = [forward for forward in updating if forward.module == name]
        off = [forward for forward in forwards if _is_off(events, module, forward)]
        if not off or forwards[-1] not in off:
            continue
        before = [forward for forward in forwards if forward not in off and forward.index < off[0].index]
        if not before and len(off) < len(forwards):
            continue
        switch = [event for event in events.of(Mode) if event.index < off[0].index and not event.training]
        layers = len(off[0].modes)
        yield Finding(
            at=at(switch[-1] if switch else off[0]),
            level=Level.ERROR if before else None,
            message=f"{name} ({module.type}) is in evaluation mode in {len(off)} of {len(forwards)} training forwards: {layers} dropout "
            f"and batch-norm layers are off"
            + (" after an evaluation, since train() is not called again" if before else ""),
            evidence={"forwards": len(off), "of": len(forwards), "layers": layers},
            fix=f"call `{name}.train()` before the training loop of each epoch",
        )


def _is_off(events: Events, module: ModuleFacts, forward: Forward) -> bool:
    """Whether all layers with two modes are in evaluation mode, and not on purpose."""
    if forward.training or any(forward.modes.values()):
        return False
    frozen_norms = {path for path in module.batch_norms if _is_frozen(events, module, path)}
    return bool(set(forward.modes) - frozen_norms)


def _is_frozen(events: Events, module: ModuleFacts, path: str) -> bool:
    own = [name for name in module.parameters if events.parameters[name].path.rpartition(".")[0] == path]
    return bool(own) and not any(name in module.trainable for name in own)
