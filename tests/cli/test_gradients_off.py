"""A target that leaves gradients switched off never passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from nnlint.cli import main

OFF = "torch.set_grad_enabled(False)"


@pytest.mark.parametrize(("top", "inside"), [(OFF, "pass"), ("", OFF)])
def test_exit_status_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: str, inside: str) -> None:
    monkeypatch.chdir(tmp_path)
    source = f"import torch\n{top}\ndef build():\n    {inside}\n    return torch.nn.Linear(4, 2), torch.randn(3, 4)\n"
    Path("off.py").write_text(source, encoding="utf-8")
    done = CliRunner().invoke(main, ["check", "off.py:build", "--static"])
    assert done.exit_code == 2, done.output
    assert "RUN001" in done.output
