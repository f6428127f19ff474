"""RUN007: a rule raised an exception."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN007", "rule-crashed", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """A rule raised an exception.

    ## What it does
    Reports a rule that raised instead of judging: a fault of the rule (or of the rule pack it comes from), not of the model.
    All other rules ran. The traceback is in every output format.

    ## Why is this bad?
    What the rule looks for was not checked, so the check is not clean.

    ## Example
        def check(graph: Graph) -> Iterator[Finding]:
            for op in graph.calls("softmax"):
                size = op.shape[-1]       # shape is None in a symbolic trace

    ## Use instead
            for op in graph.calls("softmax"):
                if op.shape is None:
                    raise Skip("the shapes are unknown")

    ## References
    - nnlint: writing rules (docs/how-to/rule-pack.md)
    """
    yield from failures.of("RUN007")
