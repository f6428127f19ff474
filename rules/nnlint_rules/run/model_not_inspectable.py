"""RUN010: the model's own code raised where nnlint only looked at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Failures


@rule("RUN010", "model-not-inspectable", level="error", since="0.1")
def check(failures: Failures) -> Iterator[Finding]:
    """The model's own code raised where nnlint only looked at it.

    ## What it does
    Reports code of the target that raises when its modules, parameters or attributes are read: an overridden `named_modules`, a
    property, a `__getattr__` that raises anything but AttributeError, a module that holds itself. It is reported once, at the
    line that raised.

    ## Why is this bad?
    Optimizers, `state_dict`, checkpoints and every tool that walks over a model run into the same exception, and what had
    to be read was not checked.

    ## Example
        class Net(nn.Module):
            def __getattr__(self, name):
                return self.extras[name]        # KeyError, and every attribute of nn.Module is lost

    ## Use instead
        class Net(nn.Module):
            def __getattr__(self, name):
                try:
                    return super().__getattr__(name)
                except AttributeError:
                    if name in self.__dict__.get("extras", {}):
                        return self.extras[name]
                    raise

    ## References
    - Python: `object.__getattr__` raises AttributeError
    """
    yield from failures.of("RUN010")
