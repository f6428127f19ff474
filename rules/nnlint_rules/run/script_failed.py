"""RUN012: the training script raised an exception."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN012", "script-failed", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """The training script raised an exception.

    ## What it does
    Reports an exception that ended the script under `nnlint run`, with its traceback. What was observed until then is
    judged all the same. Where a finding about the training loop explains the exception, this one becomes its symptom.

    ## Why is this bad?
    The script does not train, and only the iterations before the exception could be judged.

    ## Example
        nnlint run train.py               # FileNotFoundError: data/train.csv

    ## Use instead
        python train.py                   # make the script run first, then
        nnlint run train.py

    ## References
    - Python: `runpy`, how a script is run in this process
    """
    yield from failures.of("RUN012")
