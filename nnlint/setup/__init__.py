"""What is checked: training setups, and the ways to come by one from a target string or a live object."""

from __future__ import annotations

from nnlint.setup.errors import SetupError, SeveralPlayers
from nnlint.setup.options import SetupOptions
from nnlint.setup.target.resolve import coerce, resolve
from nnlint.setup.training_setup import TrainingSetup

__all__ = ["SetupError", "SetupOptions", "SeveralPlayers", "TrainingSetup", "coerce", "resolve"]
