"""The op at which a gradient ends: whether it chooses among its inputs, or lets nothing through whatever it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import BlockedGradients, BlockedParameter, GradientEnd, Op

#: Ops that leave entries out as the data have it.
_SELECTING = ("index", "merge", "concat", "embedding", "loss", "max-pool", "select", "scan", "view")
_SELECTING_NAMES = frozenset({"topk", "sort", "kthvalue", "mode", "cummax", "cummin", "maximum", "minimum", "fmax", "fmin"})
#: What has no slope somewhere: beyond the limits of a clamp, below zero, at every step of a rounding.
_FLAT = ("clamp", "activation", "round")
#: From a sum to the division by it: views, casts, a small constant added.
_STEPS = 4
#: Norms with weights are not among them: one whose weight begins at zero gives a constant, too, until it is trained.
_NORMALIZING = ("softmax", "log-softmax", "unit-norm", "div", "attention")


def blocking_end(parameter: BlockedParameter) -> GradientEnd | None:
    """The op that lets nothing through, where every way from the parameter ends at one; None where one of them chooses."""
    normalizing = [end for end in parameter.ends if is_self_normalized(end)]
    # x / x.sum(): the gradient by way of the sum cancels the other, up to rounding.
    others = [end for end in parameter.ends if not any(_feeds(end.op, last.op) for last in normalizing)]
    if any(_is_single_unit(end) for end in normalizing):
        return None  # LOS007
    if not parameter.ends or not all(_blocks(end, exact=parameter.exact) for end in others):
        return None
    return min(normalizing or parameter.ends, key=lambda end: end.op.index)


def _is_single_unit(end: GradientEnd) -> bool:
    """Whether a softmax is over the one unit that a layer has: a head of its own, and no gate that lost its other entries."""
    source = end.source
    while source.is_kind("view", "cast", "activation", "clamp", "dropout") and source.activations:
        source = source.activations[0]
    shape = source.shape or ()
    units = 1 if source.is_kind("conv") and len(shape) > 1 else len(shape) - 1
    return source.is_kind("linear-map") and end.op.is_kind("softmax", "log-softmax") and bool(shape) and shape[units] == 1


def _feeds(op: Op, target: Op) -> bool:
    """Whether the target is the op or reads it, a few steps on."""
    reached = {op}
    for _ in range(_STEPS):
        if target in reached:
            return True
        reached |= {user for above in reached for user in above.users}
    return target in reached


def blocked_exactly(blocked: BlockedGradients, name: str) -> bool:
    """Whether the gradient of the parameter is zero bit for bit."""
    found = blocked.of(name)
    return found is not None and found.exact


def _blocks(end: GradientEnd, *, exact: bool) -> bool:
    op = end.op
    if is_self_normalized(end):
        return True
    if not exact or op.is_kind(*_SELECTING) or op.name in _SELECTING_NAMES or op.is_kind("identity", "cast", "dropout"):
        return False
    if end.source.is_kind("parameter"):
        # A layer whose input is zero has a gradient of zero; what is done to the values of the parameter alone is no matter of the data.
        return (op.is_kind("mul", "div") and end.factor_is_fixed) or (op.is_kind(*_FLAT) and not op.is_kind("linear-map"))
    if op.is_kind("mul", "div", "linear-map", "matmul"):
        return end.factor_is_fixed
    return True


def is_self_normalized(end: GradientEnd) -> bool:
    """Whether the op divides a value by itself: a softmax over one entry, one expert's score over the sum of one."""
    return end.constant and end.op.is_kind(*_NORMALIZING)


def words_of(end: GradientEnd) -> tuple[str, str]:
    """What happens at the op, and what to do about it."""
    op = end.op
    if is_self_normalized(end):
        return (
            f"{op.label} normalizes a single entry, so that its output is constant",
            "normalize over all entries before choosing among them (softmax over all experts, then topk), and not again after",
        )
    if op.is_kind("attention"):
        return (
            f"{op.label} has a single key to attend to, so that queries and keys change nothing",
            "give it a sequence of keys and values (one token each), or leave out the attention and pass the value on",
        )
    if op.is_kind("mul", "div", "linear-map", "matmul"):
        return (f"{op.label} multiplies by zero", _factor_fix(op))
    if op.is_kind("activation", "clamp"):
        if end.source.is_kind("parameter"):
            return (
                f"every value of {end.source.name} lies in the flat part of {op.label}",
                "start the parameter inside the limits, or use a limit that has a slope everywhere (softplus, sigmoid, tanh)",
            )
        return (
            f"every value lies in the flat part of {op.label}",
            "look at the scale and the bias of what comes before: smaller weights, zero bias, or an activation without a flat part",
        )
    if op.is_kind("round"):
        return (f"{op.label} has a derivative of zero", "use a straight-through estimate: x + (q - x).detach()")
    return (
        f"{op.label} lets no gradient through",
        f"look at what {op.name} does to its input: a factor of zero, a rounding, a value that does not depend on it",
    )


def _factor_fix(op: Op) -> str:
    if op.is_kind("linear-map"):
        return "give the next layer nonzero weights, and train it"
    return "remove the factor of zero, or start it at a small number that trains (nn.Parameter)"
