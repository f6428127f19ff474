"""RUN001: the target cannot be loaded or gives no model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN001", "target-not-loaded", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """The target cannot be loaded or gives no model.

    ## What it does
    Reports a target that nnlint could not turn into a model: the file or module is not there, importing it raised, it has no
    such attribute, the build function raised or wants arguments, or what it returned holds no `nn.Module`. A module that is
    missing is told apart from an error inside a module that was found.

    ## Why is this bad?
    Nothing was checked. A check that passes because there was nothing to check would be worse than one that fails.

    ## Example
        nnlint check mymodel:Net          # Net.__init__ needs num_classes

    ## Use instead
        def build():                      # nnlint check mymodel:build
            return {"model": Net(num_classes=10), "loss": nn.CrossEntropyLoss()}

    ## References
    - Python: the import system, `ModuleNotFoundError` and its attribute `name`
    """
    yield from failures.of("RUN001")
