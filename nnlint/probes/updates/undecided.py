"""Whether the gradients before the first update leave a question open that those after it would answer.

A large model gets one update. The backward after it costs half a training step and is made only where it can change a verdict: a zero
gradient is judged over several (a zero-initialized branch wakes up), and so is one that is nearly zero, a weight decay or an eps
beside the gradient's size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nnlint.probes.updates.moved import tracked

if TYPE_CHECKING:
    from nnlint.probes.updates.run import Steps

#: Of the largest gradient. No calibration: a hundred times what counts as rounding (updates/blocked.py).
_NEARLY_ZERO = 1e-4
#: Decay over the gradient or the update, and eps over the gradient: below what anything looks at (updates/trials.py). Larger
#: gradients after the update make them smaller still.
_SHARE = 0.2


def is_undecided(run: Steps) -> bool:
    """Whether a second look at the gradients can change what a rule says. Every parameter has one gradient so far."""
    norms = {name: found[0] or 0.0 for name, found in run.gradients.items()}
    largest = max(norms.values(), default=0.0)
    if not math.isfinite(largest) or any(norm <= _NEARLY_ZERO * largest for norm in norms.values()):
        return True
    if _has_large_epsilon(run):
        return True
    decays = any(group.get("weight_decay") for group in run.optimizer.param_groups)
    return decays and any((item.decay_share or 0.0) > _SHARE for item in tracked(run))


def _has_large_epsilon(run: Steps) -> bool:
    """Whether an eps is not far below the root mean square of some weight tensor's gradient."""
    largest = max((float(group.get("eps") or 0.0) for group in run.optimizer.param_groups), default=0.0)
    sizes = (
        (run.gradients[name][0] or 0.0) / math.sqrt(parameter.numel())
        for name, parameter in run.setup.model.named_parameters()
        if parameter.numel() and name in run.gradients
    )
    return any(largest > _SHARE * size for size in sizes)
