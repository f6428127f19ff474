"""`NNLintCallback`: a Lightning Trainer checks its module on the first real batch, before the first step."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nnlint.finding import Level
from nnlint.integrations.preflight import Policy, judged
from nnlint.report import Report


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


class NNLintCallback(_Base):
    """Check the module once, on the first training batch; training goes on bit for bit as without it.

    Args:
        policy: "fail" stops the fit with the report, "warn" only warns.
        level: lowest level that counts.
        **settings: as for `nnlint.check` (`select`, `ignore`, `deep`, ...).

    Attributes:
        report: the report of the check; None before it and on other ranks than 0.
    """

    def __init__(self, *, policy: Policy = "fail", level: Level | str = Level.ERROR, **settings: Any) -> None:
        super().__init__()
        self.policy = policy
        self.level = level
        self.settings = settings
        self.report: Report | None = None
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
        self.report = judged(setup, policy=self.policy, level=self.level, settings=self.settings)
