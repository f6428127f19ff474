"""LOS004: log_softmax before cross-entropy: redundant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.loss._sinks import softmax_sinks, squashed_heads

if TYPE_CHECKING:
    from nnlint import LossCalls


@rule("LOS004", "log-softmax-before-cross-entropy", level="info", since="0.1")
def check(losses: LossCalls) -> Iterator[Finding]:
    """Log-softmax before a loss that applies it itself.

    ## What it does
    Reports a `log_softmax` whose values go into `cross_entropy`, or into another `log_softmax`, unchanged.

    ## Why is this bad?
    It is not wrong: log-softmax of a log-softmax is the same. It costs time and memory, and the next reader takes the
    output for logits.

    ## Example
        return F.log_softmax(self.head(x), dim=1)  # then nn.CrossEntropyLoss()

    ## Use instead
        return self.head(x)  # or keep log_softmax and use nn.NLLLoss()

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss` is `LogSoftmax` and `NLLLoss` in one
    """
    for head, sink in squashed_heads(losses, softmax_sinks(losses), "log-softmax"):
        yield Finding(
            at=head,
            message=f"{head.label}: {sink.label} applies log-softmax itself; the second one changes nothing",
            evidence={"loss": sink.label},
            fix="return the logits, or keep log_softmax and use nll_loss",
        )
