"""The errors of this package: a target that cannot be turned into a training setup, a loss that is no tensor."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from nnlint.finding import Location

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

#: What to do where an error says no more than what happened.
_FIXES: Mapping[str, str] = MappingProxyType(
    {
        "RUN001": "return a model, a tuple such as (model, loss, loader) or "
        '{"model": ..., "inputs": ..., "targets": ..., "loss": ..., "optimizer": ...}',
        "RUN005": "return the model with a batch, as (model, inputs), or give --input SHAPE",
    }
)


class SetupError(Exception):
    """What kept a target from being checked, ready to be reported as a RUN finding.

    Attributes:
        code: the RUN rule it is reported under: RUN001 (target not loaded), RUN003 (loss cannot be called) or
            RUN005 (no example input).
        message: the whole explanation for the user, starting in lower case.
        module: dotted path of the module concerned; empty for the target as a whole.
        location: the line of the user's code to look at, where one is known.
        trace: the traceback of the user's code, without nnlint's frames, where an exception was raised.
        setup: for RUN005, the setup that lacks only its inputs: enough for checks that need none.
        fix: what to change.
    """

    def __init__(
        self,
        code: str,
        message: str,
        module: str = "",
        location: Location | None = None,
        trace: str | None = None,
        setup: TrainingSetup | None = None,
        fix: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.module = module
        self.location = location
        self.trace = trace
        self.setup = setup
        self.fix = fix or _FIXES.get(code, "")


class SeveralPlayers(SetupError):
    """The target holds several training setups, each to be checked by itself.

    Attributes:
        players: the setup of each, or what kept it from being one, by name.
    """

    def __init__(self, players: Mapping[str, TrainingSetup | SetupError]) -> None:
        named = ", ".join(players)
        super().__init__(
            "RUN001",
            f"the target holds several players ({named})",
            fix="name a build function that returns one of them",
        )
        self.players = players


class LossTypeError(SetupError):
    """The loss function returned something else than a tensor.

    Attributes:
        returned: what it returned, in words.
    """

    def __init__(self, returned: str) -> None:
        super().__init__(
            "RUN003",
            f"the loss returned {returned} instead of a tensor: nothing to differentiate",
            fix="return the loss tensor itself, without item(), float() or numpy()",
        )
        self.returned = returned
