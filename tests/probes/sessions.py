"""Sessions over small setups, for the tests of single probes."""

from __future__ import annotations

from typing import Any

from nnlint.config import CheckSettings
from nnlint.probes.session import Plan, Session
from nnlint.setup import SetupOptions, coerce


def session(model: Any, inputs: Any = None, *, plan: Plan | None = None, **fields: Any) -> Session:
    """A session over a model and its batch."""
    setup = coerce({"model": model, "inputs": inputs, **fields}, SetupOptions.from_settings(CheckSettings()))
    return Session(setup, plan or Plan())
