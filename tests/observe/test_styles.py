"""Scripts in the styles of public examples: the setup of each player computes what the script computed, and nothing is wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnlint import Level
from nnlint.config import CheckSettings
from nnlint.observation.course import Plan
from nnlint.observation.observer import Observer
from nnlint.observation.ranks import Exchange
from nnlint.observation.start import run_script
from nnlint.report import TargetReport
from nnlint.run import Judge
from tests.libraries import library

STYLES = Path(__file__).parent / "styles"
#: Findings that stand: the example draws random numbers in evaluation mode.
KNOWN = {"vae": {"SIG007"}}


def judged(name: str, *arguments: str) -> list[TargetReport]:
    """The reports of a script of the folder."""
    observer = Observer(Plan())
    error: BaseException | None = None
    try:
        run_script(str(STYLES / f"{name}.py"), arguments, as_module=False, on_torch=observer.start)
    except BaseException as raised:
        error = raised
    observer.stop(error)
    return Judge(observer, CheckSettings(), name).reports(error)


def quiet(reports: list[TargetReport], name: str) -> None:
    found = [
        (item.target, it.code, it.message) for item in reports for it in item.findings if it.level is not Level.INFO
    ]
    assert [entry for entry in found if entry[1] not in KNOWN.get(name, ())] == []
    said = [line for report in reports for line in report.assumptions]
    assert not [line for line in said if "replaying" in line]


@pytest.mark.parametrize(
    ("name", "players"),
    [("vae", 1), ("lm", 1), ("ac", 1), ("ppo", 1), ("sam", 1), ("reg", 1), ("wgan", 2), ("cgan", 2), ("aae", 2), ("compile", 1)],
)
def test_setups_are_what_the_script_trained(name: str, players: int) -> None:
    reports = judged(name)
    quiet(reports, name)
    assert sum("model" in report.subject for report in reports) == players


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("maml", "other parameters than its own"),
        ("raw", "no module call led to the loss"),
        ("ff", "no module call led to the loss"),
        ("compile_step", "no module call led to the loss"),
    ],
)
def test_the_loop_is_judged_where_no_setup_can_be_made(name: str, reason: str) -> None:
    reports = judged(name)
    quiet(reports, name)
    assert any(reason in skipped.reason for report in reports for skipped in report.skipped)


@pytest.mark.parametrize("arguments", ["1", "2"])
def test_huggingface_trainer(arguments: str) -> None:
    library("transformers")
    reports = judged("hf", arguments)
    quiet(reports, "hf")
    (report,) = reports
    assert report.subject["model"] == "BertForSequenceClassification"


def test_lightning_trainer(recwarn: pytest.WarningsRecorder) -> None:
    library("lightning")
    reports = judged("lit")
    quiet(reports, "lit")
    assert reports[0].subject["model"] == "Lit"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_are_not_disturbed(method: str) -> None:
    quiet(judged("workers", method), "workers")


def _launch(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    return subprocess.run(
        [*command, "-m", "nnlint", "run", "--no-color", str(STYLES / "ddp.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_rank_zero_reports_for_all() -> None:
    done = _launch(29613)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no findings") == 1


def test_a_process_alone_exchanges_nothing() -> None:
    assert Exchange.of_environment({}) is None
    assert Exchange.of_environment({"WORLD_SIZE": "1", "RANK": "0"}) is None


def test_ranks_exchange_their_logs_by_files(tmp_path: Path) -> None:
    from nnlint.testing import observe_source
    from tests.observe import scripts

    seen = observe_source(scripts.PLAIN)
    first, second = (Exchange(rank, (0, 1, 2), 3, tmp_path / "logs", patience=0.2) for rank in (0, 1))
    assert second.gather(seen) is None
    ranks = first.gather(seen)
    assert ranks is not None
    assert ranks.lost == (2,)
    assert ranks.events[1] == ranks.events[0]
