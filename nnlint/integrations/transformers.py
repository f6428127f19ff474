"""`NNLintTrainerCallback`: the Hugging Face Trainer checks its model on the first real batch, before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlint.integrations.preflight import CheckBeforeTraining


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


class NNLintTrainerCallback(CheckBeforeTraining, _Base):
    """Check the model once when training begins; training goes on bit for bit as without it.

    Arguments and attributes are those of `CheckBeforeTraining`.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002 - the Trainer's signature
        """Check with the Trainer's own model, loader, optimizer and schedule."""
        fields = {
            "model": given.get("model"),
            "data": given.get("train_dataloader"),
            "optimizer": given.get("optimizer"),
            "scheduler": given.get("lr_scheduler"),
        }
        setup = {name: value for name, value in fields.items() if value is not None}
        self.check(setup)
