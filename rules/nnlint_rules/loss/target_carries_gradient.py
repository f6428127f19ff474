"""LOS032: the target of a loss is trained together with the prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Declared, Finding, rule

if TYPE_CHECKING:
    from nnlint import LossTerms, TargetPath

_MUTUAL = frozenset({"mutual-learning", "symmetric"})


@rule("LOS032", "target-carries-gradient", level="warning", since="0.1")
def check(terms: LossTerms, declared: Declared) -> Iterator[Finding]:
    """The target side of the loss depends on parameters that the same optimizer trains.

    ## What it does
    Looks for comparisons where one side is what a network says and the other mixes it with numbers of the batch: a temporal
    difference target (`reward + gamma * q(next)`), an advantage (`returns - value`) that weighs log-probabilities; and for a
    teacher's answers in a KL divergence. Reports the target where the gradient that the optimizer's parameters get through it,
    measured, is not zero. Reports too where a network is compared with a reference that is the same network: run again under
    `torch.no_grad()` with the same parameters, it gives the same answers (preference optimization, a trust region), or its owner
    holds one object under two names (`self.target = self.policy`).
    Targets under `torch.no_grad()` or `.detach()` have none. Losses whose two sides are alike (contrastive
    pairs, autoencoders, two networks that both learn from labels) are left alone.

    ## Why is this bad?
    The target moves toward the prediction: the cheapest way to a low loss is to make the target easy. Values collapse or
    diverge, an advantage trains the critic toward whatever makes the policy look good, a teacher unlearns what it knows.

    ## Example
        target = reward + gamma * q_net(next_state).max(1).values

    ## Use instead
        with torch.no_grad():
            target = reward + gamma * target_net(next_state).max(1).values

    ## References
    - V. Mnih et al., Human-level control through deep reinforcement learning, 2015
    - PyTorch tutorial: Reinforcement Learning (DQN), `with torch.no_grad()`
    """
    if declared.traits & _MUTUAL:
        return
    for found in terms.with_itself[:1]:
        yield Finding(
            at=found,
            message=f"{found.op.label} compares the network with itself: "
            + (
                f"`{found.names[0]}` and `{found.names[1]}` are one object, which every update changes"
                if found.names
                else "the reference has the same parameters, and its answers are the same after every update"
            ),
            evidence={"parameters": [*found.layers], "difference": 0.0},
            fix="make the reference a frozen copy: `reference = copy.deepcopy(policy).requires_grad_(False)`",
            modules=found.layers,
        )
    for path in terms.targets:
        yield Finding(
            at=path,
            message=f"{_what(path)} carries a gradient: of norm {path.norm:.3g} through the target alone, where the whole loss has "
            f"{path.whole:.3g}",
            evidence={"norm_through_target": path.norm, "norm": path.whole, "limit": 0.0},
            fix=_fix(path),
            modules=path.layers,
        )


def _what(path: TargetPath) -> str:
    if path.taught:
        return f"the teacher's answer that {path.loss.label} compares with"
    side = "the weight of the log-probabilities in" if path.loss.name == "mul" else "the target of"
    return f"{side} {path.loss.label}"


def _fix(path: TargetPath) -> str:
    source = f" of {', '.join(path.layers[:3])}" if path.layers else ""
    if path.taught:
        return f"run the teacher under `torch.no_grad()`, or detach its output{source}: `teacher(x).detach()`"
    if path.loss.name == "mul":
        return f"detach the advantage (it comes out{source}): `advantage = (returns - value).detach()`"
    return f"compute the target under `torch.no_grad()` with a copy of the network, or detach it{source}: `target = target.detach()`"
