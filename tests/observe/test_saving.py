"""An epoch that was ended early overwrites no checkpoint of an earlier training."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnlint.testing import observe_source
from tests.observe import scripts

SAVING = (
    scripts.PLAIN
    + "    torch.save(model.state_dict(), 'best.pt')\n    torch.save(model.state_dict(), f'epoch{epoch}.pt')\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.pt").write_text("hours of training")
    return tmp_path


def test_an_old_checkpoint_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    observe_source(SAVING)
    assert (folder / "best.pt").read_text() == "hours of training"
    assert capsys.readouterr().err.count("best.pt is kept as it was") == 1
    assert (folder / "epoch0.pt").is_file(), "files of its own the script may write"


def test_whole_epochs_save(folder: Path) -> None:
    observe_source(SAVING, fold=False, keep_going=True)
    assert (folder / "best.pt").read_bytes()[:2] == b"PK"
