"""Reading recorded nodes as arithmetic: what a node is, past casts and copies; which number or axis it was given."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import fx

from nnlint import kinds

#: Leaves every value in its place.
_SAME = frozenset({"identity", "cast"})
#: Values may change their shape, not their order of magnitude.
_SHAPED = frozenset({"identity", "cast", "view"})
_TINY = 1e-2


@dataclass(frozen=True)
class Formula:
    """What a node computes together with those before it.

    Attributes:
        name: the op of torch that does the same.
        input: the node of what it is computed from.
        dim: the axis of a softmax.
        target: the node of the targets of a loss.
        reduction: of a loss.
        class_axis: the axis of the classes in the input of a loss; None where it has none.
        log_input: whether a Poisson likelihood is of the logarithm of the rate; None for any other loss.
    """

    name: str
    input: fx.Node
    dim: int | None = None
    target: fx.Node | None = None
    reduction: str | None = None
    class_axis: int | None = None
    log_input: bool | None = None

    @property
    def nodes(self) -> tuple[fx.Node, ...]:
        """What it is computed from."""
        return (self.input,) if self.target is None else (self.input, self.target)

    def arguments(self) -> dict[str, Any]:
        """Its arguments as the functional of torch has them."""
        named = {
            "input": self.input,
            "dim": self.dim,
            "target": self.target,
            "reduction": self.reduction,
            "class_axis": self.class_axis,
            "log_input": self.log_input,
        }
        return {name: value for name, value in named.items() if value is not None}


def name_of(node: Any) -> str:
    """Canonical name of a node's op; empty for what is no node."""
    return str(node.meta.get("name", "")) if isinstance(node, fx.Node) else ""


def kinds_of(node: Any) -> frozenset[str]:
    """Kinds of a node's op."""
    return kinds.info(name_of(node)).kinds if isinstance(node, fx.Node) else frozenset()


def bare(node: Any, *, shaped: bool = False) -> Any:
    """The node past casts and copies, and with `shaped` past views, expansions and selections of new axes."""
    passing = _SHAPED if shaped else _SAME
    while isinstance(node, fx.Node) and node.args and (kinds_of(node) & passing or (shaped and _adds_axis(node))):
        node = node.args[0]
    return node


def _adds_axis(node: fx.Node) -> bool:
    """`x[:, None]`, or `x[..., 0]` of an axis of size 1: an index that leaves every number in its place."""
    if name_of(node) != "getitem" or len(node.args) < 2:
        return False
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    if all(part is None or part is Ellipsis or part == slice(None) for part in index):
        return True
    sizes = [math.prod(one.meta["shape"]) if isinstance(one, fx.Node) and "shape" in one.meta else -1 for one in (node.args[0], node)]
    plain = all(part is None or part is Ellipsis or type(part) in (int, slice) for part in index)
    return plain and sizes[0] == sizes[1] > 0


def operands(node: fx.Node) -> tuple[Any, Any] | None:
    """Both operands of a sum, difference, product or quotient, in the order of the formula."""
    found = [*node.args, *(value for name, value in node.kwargs.items() if name == "other")]
    if len(found) != 2:
        return None
    own = str(getattr(node.target, "__name__", node.target))
    swapped = own in ("rsub", "__rsub__", "__rdiv__", "__rtruediv__", "__rpow__") or name_of(node) == "rsub"
    return (found[1], found[0]) if swapped else (found[0], found[1])


def is_number(value: Any, wanted: float) -> bool:
    """Whether an operand is this number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == wanted


def past_guard(node: Any) -> Any:
    """The node past a small number added against division by zero, or a clamp."""
    node = bare(node, shaped=True)
    while isinstance(node, fx.Node):
        if name_of(node) == "add" and (both := operands(node)) is not None:
            number, rest = (both[0], both[1]) if not isinstance(both[0], fx.Node) else (both[1], both[0])
            if isinstance(number, fx.Node) or not isinstance(number, (int, float)) or abs(number) > _TINY:
                break
            node = bare(rest, shaped=True)
        elif "clamp" in kinds_of(node):
            node = bare(node.args[0], shaped=True)
        else:
            break
    return node


def axis_of(node: fx.Node) -> int | None:
    """The one axis that a reduction runs along; None for several, or all of a tensor with more than one."""
    found = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    if isinstance(found, (tuple, list)):
        found = found[0] if len(found) == 1 else None
    source = node.args[0] if node.args else None
    rank = len(source.meta.get("shape", ())) if isinstance(source, fx.Node) else 0
    if found is None and rank == 1 and "dim" not in node.kwargs and len(node.args) < 2:
        return 0
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def is_complete(node: fx.Node) -> bool:
    """Whether a reduction runs over all axes."""
    return not node.meta.get("shape", (1,))


def negated(node: Any) -> Any | None:
    """What a node is the negative of; None where it is no minus sign."""
    if name_of(node) == "neg":
        return node.args[0]
    both = operands(node) if isinstance(node, fx.Node) and name_of(node) in ("sub", "rsub", "mul", "div") else None
    if both is None:
        return None
    if name_of(node) in ("sub", "rsub"):
        return both[1] if is_number(both[0], 0) else None
    return next((one for one, other in (both, both[::-1]) if is_number(other, -1) and isinstance(one, fx.Node)), None)


def readers(node: fx.Node) -> Iterator[fx.Node]:
    """The nodes that read this one, past casts, copies and views."""
    for user in node.users:
        if kinds_of(user) & _SHAPED or _adds_axis(user):
            yield from readers(user)
        else:
            yield user


def given_target(node: Any) -> fx.Node | None:
    """The placeholder of the targets that a node holds as they were given, cast, reshaped or moved to a one-hot form."""
    while isinstance(node, fx.Node):
        if node.op == "placeholder":
            return node if node.meta.get("is_target") else None
        if not (kinds_of(node) & {"identity", "cast", "view", "integer-cast", "index"} or name_of(node) == "one_hot"):
            return None
        node = node.args[0] if node.args else None
    return None
