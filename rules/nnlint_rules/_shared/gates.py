"""Gates: saturating activations whose output scales another activation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Op

_PASSING = ("view", "index", "identity", "cast", "dropout", "resample")


def is_gate(op: Op) -> bool:
    """Whether the output of `op` is multiplied with another activation."""
    waiting, seen = list(op.users), set()
    while waiting:
        user = waiting.pop()
        if user.index in seen:
            continue
        seen.add(user.index)
        if user.is_kind("mul") and len(user.activations) > 1:
            return True
        # 1 - gate is the other half of a convex mixture
        mixture = user.is_kind("sub") and len(user.activations) == 1
        if mixture or user.is_kind(*_PASSING):
            waiting.extend(user.users)
    return False


def feeds_gate(op: Op) -> bool:
    """Whether the output of `op` goes into a gate and nowhere else."""
    users = [user for user in op.users if not user.in_loss]
    while len(users) == 1 and users[0].is_kind(*_PASSING):
        users = list(users[0].users)
    return bool(users) and all(user.is_kind("saturating") and is_gate(user) for user in users)
