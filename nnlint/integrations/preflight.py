"""A check before the first step: for plain loops and Accelerate, and the base of the trainers' callbacks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any, Literal

from nnlint.api import check
from nnlint.finding import Level
from nnlint.report import FindingsError, Report
from nnlint.reporters import render
from nnlint.reporters.options import ReportOptions

Policy = Literal["fail", "warn"]


class NNLintWarning(UserWarning):
    """What a check before training found, where it may not stop the training."""


def preflight(
    model: Any,
    optimizer: Any = None,
    loss: Any = None,
    batch: Any = None,
    *,
    policy: Policy = "fail",
    level: Level | str = Level.ERROR,
    **settings: Any,
) -> Report | None:
    """Check a training setup right before its first step.

    Model, optimizer and random state are bit for bit as before, so that the training goes on as if nothing had happened.
    In a process group rank 0 checks and the other ranks wait for its verdict; all of them fail or none.

    Args:
        model: the model, also wrapped (DDP, Accelerate, `torch.compile`).
        optimizer: the optimizer that will step.
        loss: called as `loss(output, targets)`; None where the model returns its own.
        batch: one batch as the loop reads it: `(inputs, targets)` or a dict.
        policy: "fail" raises, "warn" issues a `NNLintWarning`; both print the report to standard error.
        level: lowest level that counts.
        **settings: as for `nnlint.check`; a key `setup` holds further fields of the setup (`scheduler`, `precision`, ...).

    Returns:
        The report; None on other ranks than 0.

    Raises:
        FindingsError: policy "fail", and there is a finding at `level` or above, or something could not be checked.
        ValueError: an unknown policy.
    """
    if policy not in ("fail", "warn"):
        raise ValueError(f"policy {policy!r} is none of 'fail', 'warn'")
    given = {"model": model, "optimizer": optimizer, "loss": loss, **settings.pop("setup", {})}
    if batch is not None:
        given["data"] = [batch]
    setup = {name: value for name, value in given.items() if value is not None}
    return judged(setup, policy=policy, level=level, settings=settings)


def judged(
    setup: object, *, policy: Policy, level: Level | str = Level.ERROR, settings: Mapping[str, Any] | None = None
) -> Report | None:
    """Check a setup on rank 0 and act on the verdict on all ranks; see `preflight`."""
    report = check(setup, **(settings or {})) if _rank() == 0 else None
    text = render("text", report, ReportOptions()) if report is not None else ""
    failed = report is not None and report.exit_status(Level(level)) != 0
    if failed:
        sys.stderr.write(text)
    if _agreed(failed):
        message = text or "rank 0 found faults before training; its standard error has the report"
        if policy == "fail":
            raise FindingsError(f"nnlint, before the first step:\n{message}")
        warnings.warn(f"nnlint, before the first step:\n{message}", NNLintWarning, stacklevel=3)
    return report


class CheckBeforeTraining:
    """What the trainers' callbacks share: their settings, and the report of their one check.

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

    def check(self, setup: object) -> None:
        """Check a setup and act on the verdict; see `judged`."""
        self.report = judged(setup, policy=self.policy, level=self.level, settings=self.settings)


def _rank() -> int:
    return _group().get_rank() if _group() is not None else 0


def _agreed(failed: bool) -> bool:  # noqa: FBT001 - the verdict itself
    """Rank 0's verdict, on every rank."""
    group = _group()
    if group is None or group.get_world_size() == 1:
        return failed
    verdict = [failed]
    group.broadcast_object_list(verdict, src=0)
    return bool(verdict[0])


def _group() -> Any:
    """`torch.distributed` where a process group runs, else None."""
    from torch import distributed

    return distributed if distributed.is_available() and distributed.is_initialized() else None
