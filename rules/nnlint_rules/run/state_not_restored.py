"""RUN013: the state could not be restored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN013", "state-not-restored", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """The state could not be restored.

    ## What it does
    Reports that the model, its data or the process could not be put back as they were after a measurement. The check ends there:
    what was found until then is in the report, every other rule is skipped.

    ## Why is this bad?
    What is measured on a changed model is not about the model you gave, and that model must not be used any more: load it anew.

    ## Example
        def forward(self, x):
            self.table = Frozen(x)            # refuses every later assignment

    ## Use instead
        def forward(self, x):
            table = Frozen(x)

    ## References
    - nnlint: the state guard (docs/explanation/architecture.md)
    """
    yield from failures.of("RUN013")
