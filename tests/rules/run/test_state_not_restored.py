"""RUN013 state-not-restored: the state could not be restored."""

from __future__ import annotations

import nnlint
from nnlint.config import CheckSettings
from nnlint.guard.state_guard import RestoreError, StateGuard
from nnlint.selection import selected_rules
from tests.rules.run.probe_failed import Net, fields, only_failure


def test_a_state_that_cannot_be_restored_ends_the_check(monkeypatch):
    restore = StateGuard.restore

    def refuse(self, **options):
        restore(self, **options)
        raise RestoreError("could not restore the model's state: net.weight is write-only")

    monkeypatch.setattr(StateGuard, "restore", refuse)
    report, found = only_failure(fields(Net()), code="RUN013")
    assert "net.weight is write-only" in found.message
    assert any("RUN013" in skipped.reason for skipped in report.skipped)
    judged = {rule.code for rule in selected_rules(nnlint.registry.load(), CheckSettings())}
    assert {skipped.code for skipped in report.skipped} <= judged
