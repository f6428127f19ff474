"""OPT010: momentum or betas outside what trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule

if TYPE_CHECKING:
    from nnlint import Optimizer, ParameterGroup


class ExtremeMomentum(Options):
    """Bounds; calibration: docs/evidence/calibration.md#momentum."""

    momentum: float = Field(0.995, description="largest momentum of SGD and the like")
    plain_rate: float = Field(0.1, description="largest rate / (1 - momentum) at which a larger momentum is an info")
    first_beta: float = Field(0.99, description="largest decay rate of the first moment")
    second_beta: float = Field(0.8, description="smallest decay rate of the second moment")


@rule("OPT010", "extreme-momentum", level="warning", since="0.1")
def check(optimizer: Optimizer, options: ExtremeMomentum) -> Iterator[Finding]:
    """Momentum or Adam's betas outside the range that trains.

    ## What it does
    Reports a momentum above 0.995 or below 0, a first beta above 0.99, a second beta below 0.8, and betas in the wrong order
    (the first larger than the second). Adam's (0.9, 0.999), (0.5, 0.999) and (0.0, 0.9) for adversarial training, and SGD's 0.99
    are all fine. A momentum close to 1 under a rate so small that rate / (1 - momentum) is at most 0.1 is an info.

    ## Why is this bad?
    A momentum of 0.999 multiplies the effective learning rate by 1000 and remembers a thousand steps: the loss swings. A second
    moment that forgets fast makes each step depend on the last gradients alone, and with a slow first moment Adam diverges.

    ## Example
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.999, 0.9))

    ## Use instead
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999))

    ## References
    - Kingma and Ba: Adam, 2015, arXiv:1412.6980 (convergence asks for beta1^2 < sqrt(beta2))
    - Sutskever, Martens, Dahl and Hinton: On the importance of initialization and momentum in deep learning, 2013
    """
    seen = set()
    for group in optimizer.groups:
        fault = _fault(group, options)
        if fault is None or fault in seen:
            continue
        seen.add(fault)
        reason, fix = fault
        yield Finding(
            at=optimizer,
            message=f"{optimizer.label} has {reason}",
            evidence={
                "group": group.index,
                "momentum": group.momentum,
                "betas": list(group.betas) if group.betas is not None else None,
                "momentum_limit": options.momentum,
                "first_beta_limit": options.first_beta,
                "second_beta_limit": options.second_beta,
            },
            fix=fix,
            level=Level.INFO if _is_scaled_down(group, options) else None,
        )


def _is_scaled_down(group: ParameterGroup, options: ExtremeMomentum) -> bool:
    """Whether the rate was made small for the momentum: all that a gradient moves in the end is what a plain rate would."""
    if group.momentum is None or not options.momentum < group.momentum < 1.0 or group.lr is None:
        return False
    return group.lr / (1.0 - group.momentum) <= options.plain_rate * (1.0 + 1e-6)


def _fault(group: ParameterGroup, options: ExtremeMomentum) -> tuple[str, str] | None:
    momentum, betas = group.momentum, group.betas
    if momentum is not None and not 0.0 <= momentum <= options.momentum:
        return f"momentum {momentum:g} (usual: 0.9; limit {options.momentum:g})", "set momentum=0.9"
    if betas is None or len(betas) < 2:
        return None
    first, second = betas[:2]
    usual = "set betas=(0.9, 0.999)"
    if first > second:
        return (
            f"betas ({first:g}, {second:g}) with the first above the second: they look swapped",
            f"set betas=({second:g}, {first:g})",
        )
    if not 0.0 <= first <= options.first_beta:
        return f"a first beta of {first:g} (usual: 0.9; limit {options.first_beta:g})", usual
    if not options.second_beta <= second < 1.0:
        return f"a second beta of {second:g} (usual: 0.999; limits {options.second_beta:g} to 1)", usual
    return None
