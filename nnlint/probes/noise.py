"""Where noise that a forward draws meets its data. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint.capture.graph import Op


def meets(noise: Op) -> Op:
    """The first op that combines the noise with an activation: a sum, a product, a choice of rows.

    The op itself where it has done so already (the noise came from outside torch), or where nothing is combined.
    """
    if not noise.is_kind("random", "factory"):
        return noise
    pure, waiting = {noise}, [noise]
    while waiting:
        for user in waiting.pop(0).users:
            if any(source not in pure for source in user.activations):
                return user
            if user not in pure:
                pure.add(user)
                waiting.append(user)
    return noise
