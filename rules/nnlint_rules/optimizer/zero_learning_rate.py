"""OPT005: a learning rate that moves nothing, or moves the wrong way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule

if TYPE_CHECKING:
    from nnlint import LossResponse, Optimizer, ParameterGroup


@rule("OPT005", "zero-learning-rate", level="error", since="0.1")
def check(optimizer: Optimizer, response: LossResponse | None) -> Iterator[Finding]:
    """The learning rate is zero or negative, or the optimizer maximizes.

    ## What it does
    Reports parameter groups with a learning rate of 0 or below, and groups with `maximize=True`, unless the loss is an objective:
    higher for right answers than for wrong ones. Where there are no right answers to try (a policy's objective) it is info. A
    rate of 0 that a scheduler starts from (warm-up) is left out. Where other groups have a positive rate, a group at 0 may be
    frozen on purpose: a warning.

    ## Why is this bad?
    Nothing is learned, or the loss is driven up.

    ## Example
        optimizer = torch.optim.SGD(model.parameters(), lr=1 // 10)        # 0

    ## Use instead
        optimizer = torch.optim.SGD(model.parameters(), lr=1 / 10)

    ## References
    - PyTorch: `torch.optim.SGD` (lr, maximize)
    """
    rates = optimizer.learning_rates
    for group in optimizer.groups:
        if not group.tensors:
            continue
        where = f"group {group.index} of {optimizer.label}" if len(optimizer.groups) > 1 else optimizer.label
        if group.maximize and not (response is not None and response.prefers_right is False):
            yield Finding(
                at=optimizer,
                level=Level.INFO if response is not None and response.prefers_right is None else None,
                message=f"{where} has maximize=True: every step raises the loss",
                evidence={"group": group.index, "maximize": True},
                fix="drop maximize=True, or negate the loss where it is an objective to be maximized",
            )
        if group.lr is None or group.lr > 0.0 or _is_warmed_up(group, optimizer):
            continue
        word = "0: its parameters never change" if group.lr == 0.0 else f"{group.lr:g}: every step raises the loss"
        yield Finding(
            at=optimizer,
            level=Level.WARNING if group.lr == 0.0 and max(rates) > 0.0 else None,
            message=f"the learning rate of {where} is {word}",
            evidence={"group": group.index, "lr": group.lr},
            fix="set a positive learning rate (1e-3 for Adam and AdamW, 0.1 for SGD are usual starts); freeze parameters with "
            "requires_grad_(False), not with a rate of 0",
        )


def _is_warmed_up(group: ParameterGroup, optimizer: Optimizer) -> bool:
    """Whether a scheduler starts this group at zero and has a rate to scale."""
    return group.lr == 0.0 and optimizer.scheduler is not None and bool(group.initial_lr)
