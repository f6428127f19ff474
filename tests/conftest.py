"""What every test shares: one thread, and the paths of the repository."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# A busy machine is no fault of the code; and in CI the same commit gets the same examples.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

# Before torch is imported anywhere: two test processes on two cores must not fight for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hugging Face's libraries ask the network for nothing and keep their advice to themselves, in the tests' children too.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

# What runs the tests in the background may have them ignored, by the tests' children too: Ctrl-C and a hang-up are tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """The variables that libraries set (MLflow its experiment, W&B its run) would reach the programs that a later test starts."""
    kept = dict(os.environ)
    yield
    for name in set(os.environ) - set(kept) - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update({name: value for name, value in kept.items() if name != "PYTEST_CURRENT_TEST"})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that passes while the model sleeps, and at no other time: how fast the machine is plays no part."""
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: passed[0])
