"""Softmax, log-softmax and sigmoid, written out."""

from __future__ import annotations

from typing import Any

from torch import fx

from nnlint.capture.formulas.reading import Formula, axis_of, bare, is_number, name_of, negated, operands, past_guard

_LARGEST = ("max", "amax")


def activation(node: fx.Node) -> Formula | None:
    """The activation that a node completes; None for any other node."""
    name = name_of(node)
    if name in ("div", "mul"):
        return _softmax(node) or _sigmoid(node)
    if name in ("reciprocal", "pow"):
        return _sigmoid(node)
    if name == "normalize":
        return _scaled_to_one(node)
    return _log_softmax(node) if name in ("sub", "rsub") else None


# -------------------------------------------------------------------- softmax


def _softmax(node: fx.Node) -> Formula | None:
    """`exp(x) / exp(x).sum(d, keepdim=True)`; x may have its largest value taken off."""
    pair = _quotient(node)
    if pair is None:
        return None
    exponential, total = bare(pair[0]), past_guard(pair[1])
    if name_of(exponential) != "exp" or name_of(total) != "sum":
        return None
    dim, summed = axis_of(total), bare(total.args[0])
    if dim is None or name_of(summed) != "exp" or _exponent(summed) is not _exponent(exponential):
        return None
    return Formula("softmax", _unshifted(exponential.args[0]), dim=dim)


def _scaled_to_one(node: fx.Node) -> Formula | None:
    """`F.normalize(exp(x), p=1, dim=d)`."""
    power = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 2)
    dim = node.kwargs.get("dim", node.args[2] if len(node.args) > 2 else 1)
    exponential = bare(node.args[0])
    if power != 1 or name_of(exponential) != "exp" or not isinstance(dim, int):
        return None
    return Formula("softmax", _unshifted(exponential.args[0]), dim=dim)


def _quotient(node: fx.Node) -> tuple[Any, Any] | None:
    """Numerator and denominator of `a / b`, `a * b.reciprocal()`, `a * (1 / b)`."""
    both = operands(node)
    if both is None:
        return None
    if name_of(node) == "div":
        return both
    for one, other in (both, both[::-1]):
        inverse = bare(other, shaped=True)
        if name_of(inverse) == "reciprocal":
            return one, inverse.args[0]
        parts = operands(inverse) if name_of(inverse) == "div" else None
        if parts is not None and is_number(parts[0], 1):
            return one, parts[1]
    return None


def _exponent(exponential: fx.Node) -> Any:
    return bare(exponential.args[0])


def _unshifted(node: Any) -> Any:
    """X of `x - x.max()`; the node itself where nothing like it is taken off."""
    inner = bare(node)
    both = operands(inner) if name_of(inner) in ("sub", "rsub") else None
    if both is None or not isinstance(both[0], fx.Node):
        return inner
    largest = bare(both[1], shaped=True)
    while name_of(largest) in ("getitem", "detach", "data"):
        largest = bare(largest.args[0], shaped=True)
    return bare(both[0]) if name_of(largest) in _LARGEST else inner


# -------------------------------------------------------------------- log-softmax


def _log_softmax(node: fx.Node) -> Formula | None:
    """`x - logsumexp(x)`, or with the logarithm of the sum of exponentials."""
    both = operands(node)
    if both is None or not isinstance(both[0], fx.Node):
        return None
    found = log_of_sum(both[1])
    if found is None or bare(both[0]) is not found[0]:
        return None
    return Formula("log_softmax", _unshifted(both[0]), dim=found[1])


def log_of_sum(node: Any) -> tuple[Any, int] | None:
    """X and the axis of `logsumexp(x)` or `log(exp(x).sum())`; None for any other node."""
    inner = bare(node, shaped=True)
    if name_of(inner) == "logsumexp":
        dim = axis_of(inner)
        return (bare(inner.args[0]), dim) if dim is not None else None
    total = past_guard(inner.args[0]) if name_of(inner) == "log" else None
    if not isinstance(total, fx.Node) or name_of(total) != "sum":
        return None
    exponential, dim = bare(total.args[0]), axis_of(total)
    return (_exponent(exponential), dim) if name_of(exponential) == "exp" and dim is not None else None


# -------------------------------------------------------------------- sigmoid


def _sigmoid(node: fx.Node) -> Formula | None:
    """`1 / (1 + exp(-x))`, `exp(x) / (1 + exp(x))`, `(tanh(x / 2) + 1) / 2`."""
    if name_of(node) == "reciprocal":
        return _logistic(1, node.args[0])
    both = operands(node)
    if both is None:
        return None
    if name_of(node) == "pow":
        return _logistic(1, both[0]) if is_number(both[1], -1) else None
    return _logistic(*both) if name_of(node) == "div" and not is_number(both[1], 2) else _of_tanh(node, both)


def _logistic(top: Any, bottom: Any) -> Formula | None:
    inner = bare(bottom)
    parts = operands(inner) if name_of(inner) == "add" else None
    if parts is None or not any(is_number(part, 1) for part in parts):
        return None
    exponential = bare(next((part for part in parts if isinstance(part, fx.Node)), None))
    if name_of(exponential) != "exp":
        return None
    if is_number(top, 1):
        source = negated(bare(exponential.args[0]))
        return Formula("sigmoid", bare(source)) if isinstance(source, fx.Node) else None
    same = name_of(bare(top)) == "exp" and _exponent(bare(top)) is _exponent(exponential)
    return Formula("sigmoid", _exponent(exponential)) if same else None


def _of_tanh(node: fx.Node, both: tuple[Any, Any]) -> Formula | None:
    halved = is_number(both[1], 2) if name_of(node) == "div" else any(is_number(part, 0.5) for part in both)
    total = bare(next((part for part in both if isinstance(part, fx.Node)), None))
    parts = operands(total) if halved and name_of(total) == "add" else None
    if parts is None or not any(is_number(part, 1) for part in parts):
        return None
    tanh = bare(next((part for part in parts if isinstance(part, fx.Node)), None))
    return Formula("sigmoid", bare(tanh.args[0])) if name_of(tanh) == "tanh" else None
