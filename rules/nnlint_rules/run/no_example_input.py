"""RUN005: no example input was given and none could be inferred."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN005", "no-example-input", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """No example input was given and none could be inferred.

    ## What it does
    Reports that there is nothing to run the model on: no inputs in the training setup, no data, no `--input`, and no input that
    nnlint tried (from the signature, the first layers and the model's own configuration) passed through forward.

    ## Why is this bad?
    Only the rules about the model's structure and its optimizer can be evaluated; everything measured is missing.

    ## Example
        nnlint check mymodel:build        # build() returns a model with two unusual inputs

    ## Use instead
        nnlint check mymodel:build --input 8,3,32,32 --input 8,16
        # or in build(): return {"model": model, "inputs": (images, masks)}

    ## References
    - nnlint: training setups (docs/reference/build-fn.md)
    """
    yield from failures.of("RUN005")
