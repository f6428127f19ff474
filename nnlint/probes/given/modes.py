"""The training flags as training has them: what the model's own `train()` leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint.probes.session import Session


@dataclass(frozen=True)
class TrainingModes:
    """Training flags of all modules after `model.train()`, which a training loop calls first, overridden or not.

    Attributes:
        after_train: flag by module path.
    """

    after_train: Mapping[str, bool]

    def trains(self, path: str) -> bool:
        """Whether the module at this path is in training mode then."""
        return self.after_train.get(path, True)


def provide(session: Session) -> TrainingModes:
    """Call `train()` inside the state guard and read the flags.

    Raises:
        Skip: the time budget was used up.
    """
    model = session.setup.model

    def read() -> TrainingModes:
        model.train()
        return TrainingModes({path: bool(module.training) for path, module in model.named_modules()})

    found: TrainingModes = session.measure("training modes", read, reads_only=True)
    return found
