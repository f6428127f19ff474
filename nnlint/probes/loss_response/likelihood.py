"""Outputs that are distributions: does the loss raise the likelihood of the targets, or lower it?"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributions import Distribution

from nnlint.probes.loss_response.caller import LossCaller, Refused
from nnlint.tensors import map_tensors


def likelihood(caller: LossCaller, output: Any, targets: Any) -> float | None:
    """Cosine between the gradients of the loss and of the log-likelihood, over the parameters of the distribution.

    None where the output is no distribution, or the loss knows more than one tensor of targets (weights, advantages).
    """
    if not isinstance(output, Distribution) or not isinstance(targets, torch.Tensor):
        return None
    found = []
    try:
        with torch.enable_grad():
            leaves = [leaf.detach().clone().requires_grad_(leaf.requires_grad) for leaf in caller.leaves]
            trained = [leaf for leaf in leaves if leaf.requires_grad]
            waiting = iter(leaves)
            said = map_tensors(lambda _: next(waiting), output).log_prob(targets)
            for value in (caller.tensor(leaves), said):
                parts = torch.autograd.grad(value.sum(), trained, materialize_grads=True)
                found.append(torch.cat([part.reshape(-1) for part in parts]).double())
    except (Refused, RuntimeError, ValueError, NotImplementedError):
        return None
    if not all(bool(one.isfinite().all()) and bool(one.any()) for one in found):
        return None
    return float(torch.nn.functional.cosine_similarity(found[0], found[1], dim=0))
