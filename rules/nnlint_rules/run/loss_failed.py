"""RUN003: the loss raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN003", "loss-failed", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """The loss raises.

    ## What it does
    Reports the exception that the loss call raised on the model's output and the targets given, with the likely cause: a label
    that is no class, shapes that differ, a dtype the loss does not take.

    ## Why is this bad?
    Training stops at the first step, and rules about the loss cannot be evaluated until it runs.

    ## Example
        loss = F.cross_entropy(logits, labels.float())   # class indices are integers

    ## Use instead
        loss = F.cross_entropy(logits, labels.long())

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss`, `torch.nn.BCEWithLogitsLoss` (shapes and dtypes of input and target)
    """
    yield from failures.of("RUN003")
