"""Models whose parameters are spread over ranks (`fully_shard`, tensor parallelism): the whole model is checked.

Every rank gathers the parameters once and checks a copy of its own, in which nothing communicates: no rank waits for another
afterwards, whatever its batch makes the probes do.
"""

from __future__ import annotations

import copy
from typing import Any

from nnlint.capture.torch_wrapping import Gathered, is_sharded, meet_ranks
from nnlint.setup.errors import SetupError
from nnlint.setup.training_setup import TrainingSetup

_WAIT = 120.0  # seconds for the other ranks to come to the check


def whole(setup: TrainingSetup) -> TrainingSetup:
    """The setup with a copy of its model that holds whole parameters; the setup itself where nothing is sharded.

    Raises:
        SetupError: RUN001: other ranks did not come, so that the parameters cannot be gathered.
    """
    if not any(map(is_sharded, setup.model.parameters())):
        return setup
    if not meet_ranks(_WAIT):
        message = "the model is sharded, and its parameters can only be gathered where every rank calls nnlint.check"
        raise SetupError("RUN001", f"{message}: not all came within {_WAIT:g} s", fix="call it on every rank")
    gathered = Gathered()
    model = gathered.module(setup.model)
    changes: dict[str, Any] = {"model": model}
    if setup.optimizer is not None:
        changes["optimizer"] = gathered.optimizer(setup.optimizer)
    if setup.scheduler is not None and "optimizer" in changes:
        changes["scheduler"] = copy.copy(setup.scheduler)
        changes["scheduler"].optimizer = changes["optimizer"]
    return setup.with_assumption(
        "each rank checks its own copy of the sharded model, with its parameters gathered", **changes
    )
