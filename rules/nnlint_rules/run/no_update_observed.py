"""RUN011: the script made no update that could be observed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN011", "no-update-observed", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """The script made no update that could be observed.

    ## What it does
    Reports a script under `nnlint run` that ended, or went through many backward passes, without an optimizer step or any
    other change of a parameter, where no rule about the training loop says why; and an observation that failed itself.

    ## Why is this bad?
    Nothing about the training was seen, and a report without findings would look like a clean one.

    ## Example
        nnlint run evaluate.py            # the script trains nothing

    ## Use instead
        nnlint run train.py --epochs 1    # start the script so that it reaches its training loop

    ## References
    - Python: `runpy`, how a script is run in this process
    """
    yield from failures.of("RUN011")
