"""Evidence `Declared`: what the user said about the setup. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup


@dataclass(frozen=True)
class Declared:
    """What the user declared about the setup: rules fall silent on what is meant to be so.

    Attributes:
        traits: free flags of `TrainingSetup.declared`.
        frozen: globs of paths of modules and parameters frozen on purpose; `is_frozen` reads them.
        batches: of one epoch, where the data is a loader that knows them.
    """

    traits: frozenset[str]
    causal: bool
    task: str | None
    frozen: tuple[str, ...]
    num_classes: int | None
    precision: str | None
    grad_scaler: bool
    planned_steps: int | None
    interval: str | None = None
    grad_clip: float | None = None
    batches: int | None = None

    @classmethod
    def of(cls, setup: TrainingSetup) -> Declared:
        """The declarations of a setup."""
        return cls(
            traits=setup.declared,
            causal=setup.causal,
            task=setup.task,
            frozen=setup.frozen,
            num_classes=setup.num_classes,
            precision=setup.precision,
            grad_scaler=setup.grad_scaler,
            planned_steps=setup.planned_steps,
            interval=setup.interval,
            grad_clip=setup.grad_clip,
            batches=_batches(setup.data),
        )

    def is_frozen(self, path: str) -> bool:
        """Whether the user declared this module or parameter frozen: a glob matches its path, or that of a module around it."""
        parts = path.split(".")
        around = [".".join(parts[: end + 1]) for end in range(len(parts))]
        return any(fnmatchcase(name, glob) for glob in self.frozen for name in around)


def _batches(data: Any) -> int | None:
    """Length of a loader; a list of batches may be a few of many."""
    if not hasattr(data, "dataset"):
        return None
    try:
        return len(data) or None
    except TypeError:  # of an iterable dataset
        return None


def provide(session: Session) -> Declared:
    """The declarations of the setup."""
    return Declared.of(session.setup)
