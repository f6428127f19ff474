"""RUN001 target-not-loaded: the target cannot be loaded or gives no model."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import nnlint

if TYPE_CHECKING:
    pass


def test_target_not_loaded(tmp_path, monkeypatch) -> None:
    (tmp_path / "broken.py").write_text(
        textwrap.dedent("""
        def build():
            raise ValueError("no data here")
    """)
    )
    monkeypatch.chdir(tmp_path)
    for target, part in (
        ("missing_module_of_mine:build", "missing_module_of_mine"),
        ("broken.py:build", "no data here"),
    ):
        report = nnlint.check(target).results[0]
        assert report.status == "failed"
        assert [item.code for item in report.findings] == ["RUN001"]
        assert part in report.findings[0].message
