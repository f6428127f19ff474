"""Codes of a quantizer: integers that a model computes, and looks vectors up by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Op


def arrive_as_codes(inputs: Iterable[Op], ends: Iterable[Op]) -> bool:
    """Whether codes are all that comes from these inputs to these ops.

    While a codebook is fresh every sample gets the same code, so that nothing of an input need show there.
    """
    given, waiting, has_codes = set(inputs), list(ends), False
    seen = set(waiting)
    first = frozenset(waiting)
    while waiting:
        op = waiting.pop()
        if op in given:
            return False
        if op not in first and (op.is_kind("integer") or op.dtype.startswith("int")):
            has_codes = True
            continue
        waiting += [source for source in op.inputs if source not in seen]
        seen.update(op.inputs)
    return has_codes
