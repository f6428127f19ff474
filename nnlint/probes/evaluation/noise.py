"""Where noise that a forward draws meets its data. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint.capture.op import Op


#: Draws that are as often below zero as above.
_SYMMETRIC = frozenset({"randn", "randn_like", "normal"})


def meets(noise: Op) -> Op:
    """The first op that combines the noise with an activation: a sum, a product, a choice of rows.

    The op itself where it has done so already (the noise came from outside torch), or where nothing is combined.
    """
    return _spread(noise)[0]


def is_added(noise: Op) -> bool:
    """Whether the noise moves values around where they were: drawn around zero and, at most, scaled before it is added.

    `mean + std * randn`: the product with a deviation that the model computes scales no signal.
    """
    met, pure = _spread(noise)
    return noise.name in _SYMMETRIC and met is not noise and not any(op.is_kind("add", "sub") for op in pure)


def _spread(noise: Op) -> tuple[Op, set[Op]]:
    """The op where the noise meets an activation, and the ops before it that hold noise alone."""
    pure, waiting = {noise}, [noise]
    if not noise.is_kind("random", "factory"):
        return noise, pure
    while waiting:
        for user in waiting.pop(0).users:
            if any(source not in pure for source in user.activations):
                return user, pure
            if user not in pure:
                pure.add(user)
                waiting.append(user)
    return noise, pure
