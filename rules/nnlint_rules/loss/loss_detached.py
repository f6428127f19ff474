"""LOS020: a loss that nothing can be trained with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Place, Skip, rule

if TYPE_CHECKING:
    from nnlint import BackwardStats, LossCalls, Op

_CUTS = {
    "factory": "the loss is a new tensor made of numbers",
    "escape": "the loss went through a Python number",
    "integer": "the loss went through an integer operation, which has no gradient",
    "compare": "the loss is made of comparisons, which have no gradient",
    "detach": "the loss was detached",
}

#: Make a tensor of the values alone, whatever they are given and whether or not it requires grad.
_REBUILT = ("tensor", "as_tensor", "asarray")


@rule("LOS020", "loss-detached", level="error", since="0.1")
def check(losses: LossCalls, backward: BackwardStats | None) -> Iterator[Finding]:
    """A loss without a way back to the parameters.

    ## What it does
    Reports a loss that is no tensor, does not require grad (it was detached, rebuilt from numbers, or computed under
    `torch.no_grad`), is not a scalar, or has no way to a trainable parameter of the model: only parameters from elsewhere (a critic
    in the loss) get a gradient.

    ## Why is this bad?
    `backward` raises, or runs and changes nothing.

    ## Example
        loss = torch.tensor(F.mse_loss(output, y).item(), requires_grad=True)

    ## Use instead
        loss = F.mse_loss(output, y)

    ## References
    - PyTorch: autograd mechanics
    """
    if losses.is_tensor and losses.raised:
        raise Skip("the loss call raised (RUN003)")
    if not losses.trainable:
        return
    at = losses.op if losses.op is not None else _last_call(losses)
    if not losses.is_tensor:
        message = f"the loss is {losses.type_name}, not a tensor: there is nothing to call backward on"
        yield Finding(at=at, message=message, fix="return the loss tensor itself, without item(), float() or numpy()")
    elif not losses.requires_grad:
        cut, reason = _cut(losses)
        yield Finding(
            at=cut or at,
            message=f"the loss has no grad_fn, so backward cannot reach any parameter: {reason}",
            evidence={"requires_grad": False},
            fix="compute the loss from the model's output with torch operations only, without item, detach, tensor() or no_grad",
        )
    elif math.prod(losses.shape) != 1:
        yield Finding(
            at=at,
            message=f"the loss has shape {losses.shape}: backward needs a scalar",
            evidence={"shape": list(losses.shape)},
            fix='average it (`.mean()`), or do not pass reduction="none"',
        )
    elif _is_isolated(losses):
        yield Finding(
            at=at,
            message="the loss requires grad but depends on no trainable parameter of the model",
            evidence={"requires_grad": True},
            fix="compute the loss from the model's output, not from a new tensor",
        )
    elif backward is not None and not backward.surrogate and _reaches_nothing(backward):
        yield from _cut_off(losses, backward)


def _cut_off(losses: LossCalls, backward: BackwardStats) -> Iterator[Finding]:
    """The loss trains a network from elsewhere (a critic) and none of the model: the op that takes the output without its gradient."""
    before = losses.graph.ancestors(losses.op) if losses.op is not None else frozenset()
    for op in sorted(before, key=lambda op: op.index, reverse=True):
        if (op.requires_grad and op.name not in _REBUILT) or not any(part.requires_grad for part in op.activations):
            continue
        if op.name in _REBUILT:
            yield Finding(
                at=op,
                message=f"no parameter of the model gets a gradient: {op.label} makes new numbers of tensors that have one",
                evidence={"parameters": len(backward.parameters), "with_gradient": 0},
                fix="put the tensors together with `torch.stack(losses)`, which keeps their gradients",
            )
            return
        kinds = [kind for kind in _CUTS if op.is_kind(kind)]
        if not kinds and op.grad_enabled:
            continue
        what = "is detached" if "detach" in kinds else f"goes through {op.label}, which has no gradient"
        yield Finding(
            at=op,
            message=f"no parameter of the model gets a gradient: its output {what if op.grad_enabled else 'is used under torch.no_grad'}",
            evidence={"parameters": len(backward.parameters), "with_gradient": 0},
            fix="give the output itself to the network in the loss; detach it only in that network's own loss",
        )
        return


def _reaches_nothing(backward: BackwardStats) -> bool:
    return bool(backward.parameters) and all(item.norm is None for item in backward.parameters)


def _last_call(losses: LossCalls) -> Place | Op:
    return losses.calls[-1].op if losses.calls else Place()


def _cut(losses: LossCalls) -> tuple[Op | None, str]:
    """The op where the gradient ends, nearest to the loss, and what it did."""
    if losses.op is None:
        return None, "it is a tensor that no recorded operation made"
    for op in losses.graph.chain_back(losses.op):
        kind = next((kind for kind in _CUTS if op.is_kind(kind)), None)
        if kind is not None:
            return op, _CUTS[kind]
        if not op.grad_enabled:
            return op, "it was computed under torch.no_grad"
        if op.requires_grad:
            break
    return losses.op, "it was computed from tensors that need no gradient"


def _is_isolated(losses: LossCalls) -> bool:
    if losses.op is None:
        return False
    upstream = losses.graph.ancestors(losses.op) | {losses.op}
    if any(op.is_kind("unknown", "scripted") for op in upstream):
        return False  # tensors that the recording did not see being made may hide a parameter
    return not any(op.is_kind("parameter", "unregistered-parameter") and op.requires_grad for op in upstream)
