"""RUN004: the backward raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN004", "backward-failed", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """The backward raises.

    ## What it does
    Reports the exception that `loss.backward()` raised, and names an in-place modification where torch found one. The forward was
    measured, so every rule that needs no gradient still runs.

    ## Why is this bad?
    Training stops at the first step. An in-place change of a value that backward needs is only found here, far from the line that
    made it.

    ## Example
        y = torch.exp(x)
        y += 1                            # exp's backward needs y as it was

    ## Use instead
        y = torch.exp(x) + 1

    ## References
    - PyTorch: Autograd mechanics, in-place operations with autograd
    - PyTorch: `torch.autograd.set_detect_anomaly`
    """
    yield from failures.of("RUN004")
