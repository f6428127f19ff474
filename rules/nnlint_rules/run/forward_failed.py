"""RUN002: the model's forward raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN002", "forward-failed", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """The model's forward raises.

    ## What it does
    Reports the exception that the forward raised on the batch given: the layer that was being called, the shapes it was given,
    the line of the model that called it, and the likely cause where one is known (size at the flatten, channel order, dtype).
    Rules that need no values still run, on what was recorded until then or on a symbolic trace.

    ## Why is this bad?
    Training stops at the first step. The exception of torch names two shapes but not the layer; the cause is usually one layer
    further up.

    ## Example
        self.fc = nn.Linear(400, 10)      # flatten gives 576 features for 32 x 32 images

    ## Use instead
        self.fc = nn.Linear(576, 10)      # or nn.LazyLinear(10)

    ## References
    - PyTorch: `torch.nn.Linear`, `torch.nn.LazyLinear`, `torch.nn.Conv2d` (shapes of the input)
    """
    yield from failures.of("RUN002")
