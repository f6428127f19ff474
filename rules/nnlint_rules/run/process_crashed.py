"""RUN009: the process that ran the target ended by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN009", "process-crashed", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """The process that ran the target crashed or ended itself.

    ## What it does
    Every target is checked in a process of its own. Reports a process that ended before its check did: by a segmentation
    fault or an abort in compiled code, or because the target called `os._exit`. The finding shows the line of Python that
    was running, with its stack, and all that was found until then.

    ## Why is this bad?
    A training crashes at the same line, and what was not measured yet was not checked.

    ## Example
        def forward(self, x):
            return my_extension.scatter(x, self.index)    # writes out of bounds: segmentation fault

    ## Use instead
        def forward(self, x):
            assert self.index.max() < x.shape[0]
            return my_extension.scatter(x, self.index)

    ## References
    - Python: faulthandler, https://docs.python.org/3/library/faulthandler.html
    """
    yield from failures.of("RUN009")
