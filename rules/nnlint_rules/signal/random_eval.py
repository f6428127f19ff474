"""SIG007: evaluation-mode output is random for another cause than dropout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Declared
    from nnlint.probes.eval_stats import EvalStats

_LIMIT = 1e-4


@rule("SIG007", "random-eval", level="error", since="0.1", explains=["SIG010"])
def check(evaluation: EvalStats, declared: Declared) -> Iterator[Finding]:
    """Two evaluation-mode passes on the same batch give different outputs.

    ## What it does
    Runs the model twice in evaluation mode on the same batch with different seeds and compares the outputs. A difference
    above 1e-4 of the largest output is reported with the first operation that differs: noise drawn in forward, a sample of
    a latent variable, a random crop or mask. Dropout has a rule of its own (ARC012). `declared={"stochastic"}` silences it.

    ## Why is this bad?
    Validation scores and predictions change from call to call, and a fault cannot be reproduced. Noise that regularizes
    belongs into training mode only.

    ## Example
        x = x + 0.1 * torch.randn_like(x)

    ## Use instead
        if self.training:
            x = x + 0.1 * torch.randn_like(x)

    ## References
    - https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval
    - https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    if "stochastic" in declared.traits:
        return
    found = evaluation.randomness
    if found is None or found.from_dropout:
        return
    place = f"{found.op.label} is random in evaluation mode" if found.op is not None else "evaluation mode is random"
    yield Finding(
        at=found.op,
        message=f"{place}: two passes on the same batch differ by {found.difference:.2g} of the largest output (limit {_LIMIT:g})",
        evidence={"difference": found.difference, "limit": _LIMIT},
        fix="draw the noise only `if self.training:`; where the model is meant to be stochastic, declare it: "
        '`declared={"stochastic"}`',
    )
