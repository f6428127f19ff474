"""ARC012: dropout is on in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.architecture._flow import is_switched_on

if TYPE_CHECKING:
    from nnlint import Declared, EvalStats, Op

_LIMIT = 1e-4


@rule("ARC012", "dropout-always-on", level="error", since="0.1")
def check(evaluation: EvalStats, declared: Declared) -> Iterator[Finding]:
    """Evaluation-mode output is random because of dropout.

    ## What it does
    Runs the model twice in evaluation mode on the same batch with different seeds. Where the outputs differ by more than
    1e-4 of the largest output, both runs are recorded and the first operation whose output differs is named; this rule
    reports it when it is a dropout, or the dropout inside attention or a recurrent layer. Other causes are SIG007's.
    `declared={"monte-carlo-dropout"}` or `{"stochastic"}` silences it; `training=True` written out in the call is a warning: somebody
    decided it.

    ## Why is this bad?
    `F.dropout(x)` has `training=True` as its default and does not know the module's mode, so `model.eval()` does not switch
    it off: validation and predictions lose a random share of the units, and change from call to call.

    ## Example
        x = F.dropout(x, 0.5)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.1)

    ## Use instead
        x = F.dropout(x, 0.5, training=self.training)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.1 if self.training else 0.0)

    ## References
    - https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html
    - https://github.com/pytorch/pytorch/issues/11999
    """
    if declared.traits & {"monte-carlo-dropout", "stochastic"}:
        return
    found = evaluation.randomness
    if found is None or found.op is None or not found.from_dropout:
        return
    yield Finding(
        at=found.op,
        message=f"{found.op.label} drops values in evaluation mode: two passes on the same batch differ by "
        f"{found.difference:.2g} of the largest output (limit {_LIMIT:g})",
        evidence={"difference": found.difference, "limit": _LIMIT, "p": _probability(found.op)},
        fix=_fix(found.op),
        level=Level.WARNING if is_switched_on(found.op.location) else None,
    )


def _probability(op: Op) -> float | None:
    value = op.argument("p", op.argument("dropout_p"))
    return float(value) if isinstance(value, (int, float)) else None


def _fix(op: Op) -> str:
    if op.is_kind("attention"):
        return "pass dropout_p=p if self.training else 0.0"
    if op.is_kind("recurrent"):
        return "let model.eval() reach the layer: do not override eval() or train(), nor call train() in forward"
    return "pass training=self.training, or use nn.Dropout as a sub-module"
