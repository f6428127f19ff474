"""`NNLintCallback`: a Lightning Trainer checks its module on the first real batch, before the first step."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nnlint.integrations.preflight import CheckBeforeTraining


def _callback_class() -> type[Any]:
    """Lightning's base class, under whichever name it is installed.

    Raises:
        ImportError: neither package can be imported; the message says what to install.
    """
    problems = []
    for package in ("lightning.pytorch", "pytorch_lightning"):
        try:
            found: type[Any] = import_module(package).Callback
        except Exception as error:
            problems.append(f"{package}: {error}")
        else:
            return found
    raise ImportError(f"NNLintCallback needs Lightning: pip install 'nnlint[lightning]' ({'; '.join(problems)})")


if TYPE_CHECKING:
    _Base = object
else:
    _Base = _callback_class()


class NNLintCallback(CheckBeforeTraining, _Base):
    """Check the module once, on the first training batch; training goes on bit for bit as without it.

    Arguments and attributes are those of `CheckBeforeTraining`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._is_done = False

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Check before the first step of the fit."""
        if self._is_done:
            return
        self._is_done = True
        setup: dict[str, Any] = {"model": pl_module, "data": [batch]}
        if len(trainer.optimizers) == 1:
            setup["optimizer"] = trainer.optimizers[0]
            schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
            if schedulers:
                setup["scheduler"] = schedulers[0]
        self.check(setup)
