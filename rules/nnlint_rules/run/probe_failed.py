"""RUN008: a probe raised an exception."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN008", "probe-failed", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """A probe raised an exception.

    ## What it does
    Reports a measurement that could not be made because code raised in it: the run that it happened in (a later training step, the
    forward in evaluation mode, the optimizer's step), the exception, and the user's line. The first forward, loss and backward
    have codes of their own (RUN002 to RUN004). What nnlint merely tries, such as a smaller batch, is no fault: the rules that
    need it are skipped with the reason.

    ## Why is this bad?
    Training makes the same run and stops there. The rules that need the measurement are skipped, so the check is not complete.

    ## Example
        self.state = torch.tanh(self.cell(x) + self.state)   # step 2 goes backward through step 1's graph

    ## Use instead
        self.state = torch.tanh(self.cell(x) + self.state.detach())

    ## References
    - PyTorch: Autograd mechanics, saved tensors; `torch.Tensor.detach`
    - PyTorch: `torch.nn.Module.eval`
    """
    yield from failures.of("RUN008")
