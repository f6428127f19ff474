"""RUN006: the time or memory limit was reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN006", "out-of-budget", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """The time or memory limit was reached.

    ## What it does
    Reports that a check was stopped at its limit: the time of `--budget`, the time allowed for one target, or the memory of the
    machine (also when the operating system killed the process). What was measured until then is in the report.

    ## Why is this bad?
    The rules that had not run yet are skipped with this reason; the check is incomplete.

    ## Example
        nnlint check mymodel:build --deep --budget 10

    ## Use instead
        nnlint check mymodel:build --deep --budget 300    # or a smaller batch: --batch-size 8

    ## References
    - nnlint: limits and exit status (docs/reference/configuration.md)
    """
    yield from failures.of("RUN006")
