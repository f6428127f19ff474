"""`NNLintTrainerCallback`: the Hugging Face Trainer checks its model on the first real batch, before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlint.finding import Level
from nnlint.integrations.preflight import Policy, judged
from nnlint.report import Report


def _callback_class() -> type[Any]:
    """The base class of the Trainer's callbacks.

    Raises:
        ImportError: transformers cannot be imported; the message says what to install.
    """
    try:
        from transformers import TrainerCallback
    except Exception as error:
        raise ImportError(
            f"NNLintTrainerCallback needs transformers: pip install 'nnlint[transformers]' ({error})"
        ) from error
    found: type[Any] = TrainerCallback
    return found


if TYPE_CHECKING:
    _Base = object
else:
    _Base = _callback_class()


class NNLintTrainerCallback(_Base):
    """Check the model once when training begins; training goes on bit for bit as without it.

    Args:
        policy: "fail" stops the training with the report, "warn" only warns.
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

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002 - the Trainer's signature
        """Check with the Trainer's own model, loader, optimizer and schedule."""
        fields = {
            "model": given.get("model"),
            "data": given.get("train_dataloader"),
            "optimizer": given.get("optimizer"),
            "scheduler": given.get("lr_scheduler"),
        }
        setup = {name: value for name, value in fields.items() if value is not None}
        self.report = judged(setup, policy=self.policy, level=self.level, settings=self.settings)
