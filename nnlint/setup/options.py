"""What the caller may add to, or put in place of, what the target itself says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnlint.provenance import MODEL_LIBRARIES

if TYPE_CHECKING:
    from nnlint.config import CheckSettings

#: Samples in a batch that nnlint makes up.
DEFAULT_BATCH_SIZE = 8


@dataclass(frozen=True)
class SetupOptions:
    """The choices of the command line, the configuration and the Python API that shape a training setup.

    Attributes:
        inputs: `--input` specifications; they replace the setup's own inputs.
        default_inputs: specifications from the configuration; used only where the setup has no inputs.
        loss: `--loss`: a loss name or `module:attribute`; it replaces the setup's own loss.
        batch_size: samples in made-up inputs; None for the default.
        classes: the number of classes, for made-up targets.
        device: where to move model and tensors; None leaves them where they are.
        seed: of everything made up here.
        directory: what relative targets are relative to; None for the current directory.
        weights: a checkpoint to load into the model.
        libraries: import names of the packages that count as model libraries.
        static: nothing will be run on real values.
    """

    inputs: tuple[str, ...] = ()
    default_inputs: tuple[str, ...] = ()
    loss: str | None = None
    batch_size: int | None = None
    classes: int | None = None
    device: str | None = None
    seed: int = 0
    directory: Path | None = None
    weights: str | None = None
    libraries: frozenset[str] = frozenset(MODEL_LIBRARIES)
    static: bool = False

    @classmethod
    def from_settings(cls, settings: CheckSettings) -> SetupOptions:
        """The part of a check's settings that shapes the setup."""
        return cls(
            inputs=settings.input,
            default_inputs=settings.default_input,
            loss=settings.loss,
            batch_size=settings.batch_size,
            classes=settings.classes,
            device=settings.device,
            seed=settings.seed,
            directory=settings.directory,
            weights=settings.weights,
            libraries=frozenset(settings.libraries),
            static=settings.static,
        )

    @property
    def samples(self) -> int:
        """Samples in a made-up batch."""
        return self.batch_size or DEFAULT_BATCH_SIZE

    @property
    def is_meta(self) -> bool:
        """Whether the model is asked for on the meta device: without weights."""
        return self.device == "meta" and self.weights is None

    @property
    def base(self) -> Path:
        """The directory that relative targets start from."""
        return (self.directory or Path.cwd()).absolute()
