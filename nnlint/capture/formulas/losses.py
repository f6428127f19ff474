"""Cross-entropy, binary cross-entropy, squared and absolute error, written out against the targets of the batch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import fx

from nnlint.capture.formulas.activations import log_of_sum
from nnlint.capture.formulas.reading import (
    Formula,
    bare,
    given_target,
    is_complete,
    is_number,
    kinds_of,
    name_of,
    negated,
    operands,
    past_guard,
    readers,
)

_PICKS = ("gather", "getitem", "take_along_dim")


def loss_formulas(node: fx.Node) -> tuple[fx.Node, Formula] | None:
    """The loss that a node is part of, with the node that completes it; None for any other node."""
    name = name_of(node)
    if name in ("pow", "square", "mul", "abs") and (found := _error(node)) is not None:
        return node, found
    if name in _PICKS and (found := _picked(node)) is not None:
        return _completed(node, found)
    if name in ("sub", "rsub"):
        return _of_logsumexp(node) or _poisson(node) or _binary_of_logits(node)
    if name == "add" and (found := _binary(node)) is not None:
        return _completed(node, found)
    return _binary_of_logits(node) if name == "add" else None


# -------------------------------------------------------------------- differences


def _error(node: fx.Node) -> Formula | None:
    """A square or absolute value of prediction minus target."""
    name = name_of(node)
    if name == "pow" and not (len(node.args) > 1 and is_number(node.args[1], 2)):
        return None
    inner = bare(node.args[0])
    if name == "mul":
        both = operands(node)
        if both is None or not _is_same(bare(both[0]), bare(both[1])):
            return None
    parts = operands(inner) if name_of(inner) in ("sub", "rsub") else None
    if parts is None:
        return None
    sides = [given_target(part) for part in parts]
    if (sides[0] is None) is (sides[1] is None):
        return None
    prediction, target = (parts[1], parts[0]) if sides[0] is not None else parts
    if not isinstance(prediction, fx.Node) or not prediction.meta.get("requires_grad"):
        return None
    shapes = [node.meta.get("shape") for node in (prediction, target)]
    if shapes[0] is None or shapes[0] != shapes[1]:
        return None  # laid against each other on purpose (quantiles, pairs), or not: that is judged as a difference
    return Formula("l1_loss" if name == "abs" else "mse_loss", prediction, target=target, reduction="none")


def _is_same(one: Any, other: Any) -> bool:
    """Whether both are one node, or the same difference computed twice."""
    if one is other:
        return True
    both = isinstance(one, fx.Node) and isinstance(other, fx.Node)
    return both and name_of(one) == name_of(other) == "sub" and one.args == other.args


# -------------------------------------------------------------------- cross-entropy


def _picked(node: fx.Node) -> Formula | None:
    """Log-probabilities at the class numbers of the targets: `logp.gather(1, y[:, None])`, `logp[arange(n), y]`."""
    index = _index(node)
    target = given_target(index)
    source = bare(node.args[0])
    if name_of(source) == "neg":
        source = bare(source.args[0])
    if target is None or not isinstance(index, fx.Node) or not isinstance(source, fx.Node):
        return None
    scores, labels, axis = logits_of(source), _labels(index, target), _picked_axis(node)
    if scores is not None:
        return Formula("cross_entropy", scores, target=labels, reduction="none", class_axis=axis)
    # Picked and negated without a logarithm: what `nll_loss` does. Probabilities may be meant (an expected accuracy).
    bounded = kinds_of(source) & {"softmax", "sigmoid"} or not source.meta.get("requires_grad")
    return None if bounded else Formula("nll_loss", source, target=labels, reduction="none", class_axis=axis)


def _picked_axis(node: fx.Node) -> int:
    """The axis that one entry of each row is picked from: it holds the classes."""
    if name_of(node) == "getitem":
        return 1  # `x[rows, labels]`
    place = 2 if name_of(node) == "take_along_dim" else 1
    dim = node.kwargs.get("dim", node.args[place] if len(node.args) > place else None)
    return dim if isinstance(dim, int) else -1


def _labels(index: fx.Node, target: fx.Node) -> fx.Node:
    """The targets as they were given, where the index is all of them in another shape."""
    sizes = [math.prod(node.meta.get("shape", ())) for node in (index, target)]
    return target if sizes[0] == sizes[1] else index


def _index(node: fx.Node) -> Any:
    if name_of(node) == "take_along_dim":
        return node.kwargs.get("indices", node.args[1] if len(node.args) > 1 else None)
    if name_of(node) != "getitem":
        return node.kwargs.get("index", node.args[2] if len(node.args) > 2 else None)
    index = node.args[1] if len(node.args) > 1 else None
    return index[-1] if isinstance(index, tuple) and len(index) == 2 else None


def logits_of(node: Any) -> fx.Node | None:
    """The logits of log-probabilities: those of a log_softmax, or of the softmax under a logarithm."""
    if "log-softmax" in kinds_of(node):
        source: Any = node.meta["formula"].input if "formula" in node.meta else node.args[0]
        return source if isinstance(source, fx.Node) else None
    inner = past_guard(node.args[0]) if name_of(node) == "log" else None
    if inner is None or "softmax" not in kinds_of(inner):
        return None
    source = inner.meta["formula"].input if "formula" in inner.meta else inner.args[0]
    return source if isinstance(source, fx.Node) else None


def _of_logsumexp(node: fx.Node) -> tuple[fx.Node, Formula] | None:
    """`logsumexp(x) - x[y]`, or its negative."""
    parts = operands(node)
    if parts is None:
        return None
    for total, chosen, positive in ((*parts, True), (*reversed(parts), False)):
        found, pick = log_of_sum(total), bare(chosen, shaped=True)
        if found is None or name_of(pick) not in _PICKS or bare(pick.args[0]) is not found[0]:
            continue
        index = _index(pick)
        target = given_target(index)
        if isinstance(index, fx.Node) and target is not None:
            labels = _labels(index, target)
            made = Formula("cross_entropy", found[0], target=labels, reduction="none", class_axis=found[1])
            return (node, made) if positive else _completed(node, made)
    return None


def _completed(node: fx.Node, found: Formula) -> tuple[fx.Node, Formula] | None:
    """The minus sign behind the log-likelihood, and what is reduced on the way to it."""
    current, reduction = node, found.reduction
    for _ in range(6):
        if name_of(bare(current.args[0])) == "neg" and current is node:
            return node, found
        following = list(readers(current))
        sign = next((user for user in following if negated(user) is not None), None)
        if sign is not None:
            return sign, replace(found, reduction=reduction)
        step = next((user for user in following if name_of(user) in ("mean", "sum")), None)
        if step is None:
            return None
        if is_complete(step) and reduction == "none":
            reduction = name_of(step)
        current = step
    return None


# -------------------------------------------------------------------- binary cross-entropy


def _binary(node: fx.Node) -> Formula | None:
    """`y * log(p) + (1 - y) * log(1 - p)` in either order."""
    parts = operands(node)
    if parts is None or name_of(node) != "add":
        return None
    one, other = _weighted_log(parts[0]), _weighted_log(parts[1])
    if one is None or other is None:
        return None
    for (weight, inside), (opposite, outside) in ((one, other), (other, one)):
        p, y = past_guard(inside), bare(weight, shaped=True)
        complete = _complement(outside) is p and _complement(opposite) is y
        if isinstance(p, fx.Node) and isinstance(y, fx.Node) and complete and given_target(y) is not None:
            return Formula("binary_cross_entropy", p, target=weight, reduction="none")
    return None


def _weighted_log(node: Any) -> tuple[Any, Any] | None:
    """The factor and the argument of `w * log(a)`."""
    inner = bare(node, shaped=True)
    both = operands(inner) if name_of(inner) == "mul" else None
    if both is None:
        return None
    for factor, logarithm in (both, both[::-1]):
        found = bare(logarithm)
        if name_of(found) == "log":
            return factor, found.args[0]
    return None


def _complement(node: Any) -> Any | None:
    """X of `1 - x`, past a guard on either."""
    inner = past_guard(node)
    both = operands(inner) if name_of(inner) in ("sub", "rsub") else None
    return (
        past_guard(both[1])
        if both is not None and isinstance(both[0], (int, float)) and abs(both[0] - 1) < 1e-2
        else None
    )


def _binary_of_logits(node: fx.Node) -> tuple[fx.Node, Formula] | None:
    """`softplus(z) - z * y`, or the same with the exponential of nothing large, `clamp(z, 0) - z * y + log1p(exp(-abs(z)))`."""
    parts = operands(node)
    if parts is None:
        return None
    if name_of(node) == "add":
        inner = next((bare(part) for part in parts if name_of(bare(part)) in ("sub", "rsub")), None)
        rest = next((bare(part) for part in parts if bare(part) is not inner), None)
        both = operands(inner) if inner is not None and _is_tail(rest) else None
        wanted = frozenset({"clamp", "rectifier"})
    else:
        both, wanted = parts, frozenset({"smooth-rectifier"})
    rectified = bare(both[0]) if both is not None else None
    if both is None or not isinstance(rectified, fx.Node) or not (kinds_of(rectified) & wanted):
        return None
    z, product = bare(rectified.args[0]), both[1]
    if name_of(node) != "add" and name_of(rectified) != "softplus":
        return None
    factors = operands(bare(product)) if name_of(bare(product)) == "mul" else None
    for one, other in (factors, factors[::-1]) if factors is not None else ():
        if bare(one) is z and isinstance(z, fx.Node) and isinstance(other, fx.Node) and given_target(other) is not None:
            return node, Formula("binary_cross_entropy_with_logits", z, target=other, reduction="none")
    return None


def _is_tail(node: Any) -> bool:
    """`log1p(exp(-abs(z)))`, also with `log(1 + ...)`."""
    if name_of(node) not in ("log1p", "log"):
        return False
    inner = bare(node.args[0])
    if name_of(node) == "log":
        parts = operands(inner) if name_of(inner) == "add" else None
        inner = next((bare(part) for part in parts if isinstance(part, fx.Node)), None) if parts is not None else None
    size = negated(bare(inner.args[0])) if name_of(inner) == "exp" else None
    return size is not None and name_of(bare(size)) == "abs"


# -------------------------------------------------------------------- Poisson


def _poisson(node: fx.Node) -> tuple[fx.Node, Formula] | None:
    """`exp(z) - y * z`, or `r - y * log(r)`, or the negative of either."""
    parts = operands(node)
    if parts is None:
        return None
    for rate, product, positive in ((*parts, True), (*reversed(parts), False)):
        inner = bare(product, shaped=True)
        both = operands(inner) if name_of(inner) == "mul" else None
        found = None
        for count, score in (both, both[::-1]) if both is not None else ():
            if isinstance(count, fx.Node) and given_target(count) is not None and (z := _log_rate(rate, score)) is not None:
                source, log_input = z
                found = Formula("poisson_nll_loss", source, target=count, reduction="none", log_input=log_input)
        if found is not None:
            return (node, found) if positive else _completed(node, found)
    return None


def _log_rate(rate: Any, score: Any) -> tuple[fx.Node, bool] | None:
    """What both the rate and the score of a Poisson likelihood are made of, and whether it is the logarithm of the rate."""
    rate, score = bare(rate), bare(score)
    if name_of(rate) == "exp" and bare(rate.args[0]) is score and isinstance(score, fx.Node):
        return score, True
    same = name_of(score) == "log" and past_guard(score.args[0]) is past_guard(rate)
    return (rate, False) if same and isinstance(rate, fx.Node) else None
