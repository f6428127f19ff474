"""One number taken from all values of a batch before a softmax (`z - z.max()`, against overflow): softmax removes it again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op

_MOVED = ("view", "identity", "cast", "detach")


def softmax_removes(op: Op, graph: Graph) -> bool:
    """Whether `op` is such a number, or its subtraction, and nothing but softmax and cross-entropy reads the difference.

    Args:
        op: where samples begin to depend on each other, in this graph or in one of another run.
        graph: of the training pass, with its loss.
    """
    here = op if op.graph is graph else graph.counterpart(op)
    if here is None:
        return False
    differences = (here,) if here.name == "sub" else graph.consumers(here, through=_MOVED)
    return bool(differences) and all(_is_shift(one) and _is_removed(one, graph) for one in differences)


def _is_shift(op: Op) -> bool:
    return op.name == "sub" and len(op.inputs) == 2 and math.prod(op.inputs[1].shape or ()) == 1


def _is_removed(op: Op, graph: Graph) -> bool:
    readers = graph.consumers(op, through=_MOVED)
    return bool(readers) and all(_normalizes(reader) for reader in readers)


def _normalizes(reader: Op) -> bool:
    """A softmax, a cross-entropy, or the exponentials of a softmax that is written out, with their sum."""
    if reader.is_kind("softmax") or reader.name == "cross_entropy":
        return True
    written = [user for user in reader.users if user.is_kind("softmax")]
    sums = [user for user in reader.users if user not in written]
    return reader.name == "exp" and bool(written) and all(set(user.users) <= set(written) for user in sums)
