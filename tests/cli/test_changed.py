"""`nnlint check --changed`, and the hook of `.pre-commit-hooks.yaml` as pre-commit runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nnlint.cli import main

CONFIG = '[tool.nnlint]\ntargets = ["one.py:build", "two.py:build"]\n'


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(stub: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two targets, checked and committed."""
    folder = stub / "project"
    folder.mkdir()
    write(folder / "pyproject.toml", CONFIG)
    write(folder / "shared.py", "WORD = 'clean'\n")
    write(folder / "one.py", "import shared\ndef build():\n    return shared.WORD\n")
    write(folder / "two.py", "def build():\n    return 'clean'\n")
    write(folder / "README.md", "a project\n")
    monkeypatch.setattr("nnlint.worker.job.ENGINE", "reading_engine")
    monkeypatch.chdir(folder)
    assert check().exit_code == 0
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "start")
    return folder


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def runs() -> list[str]:
    """The targets that were really checked since the last call."""
    log = Path("../runs.log")
    done = log.read_text().split()
    write(log, "")
    return done


def test_only_targets_that_a_changed_file_concerns(project: Path) -> None:
    runs()
    write(project / "shared.py", "WORD = 'grave'\n")
    done = check("--changed", "shared.py", "README.md")
    assert (done.exit_code, runs()) == (1, ["one.py:build"])
    told = "nnlint: left out, no changed file concerns them: two.py:build (clean at its last check)"
    assert done.stderr.splitlines()[0] == told
    again = check("--changed", "shared.py")
    assert (again.exit_code, runs()) == (1, [])
    assert again.stdout == done.stdout
    assert "answered from .nnlint_cache: one.py:build" in again.stderr


def test_a_fault_that_was_there_is_told_and_fails_nobody_else(project: Path) -> None:
    write(project / "shared.py", "WORD = 'grave'\n")
    check()
    done = check("--changed", "README.md")
    assert done.exit_code == 0
    assert "one.py:build (1 error at its last check), two.py:build (clean at its last check)" in done.stderr
    assert done.stdout == "nothing was checked\n"


def test_git_says_what_changed_where_no_file_is_named(project: Path) -> None:
    runs()
    assert check("--changed").exit_code == 0
    assert runs() == []
    write(project / "two.py", "def build():\n    return 'grave'\n")
    done = check("--changed")
    assert (done.exit_code, runs()) == (1, ["two.py:build"])
    git(project, "commit", "-am", "faulty")
    assert check("--changed").exit_code == 0
    git(project, "rm", "shared.py")
    gone = check("--changed")
    assert (gone.exit_code, runs()) == (2, ["one.py:build"])


def test_a_repository_without_a_commit_and_no_repository(stub: Path, project: Path) -> None:
    import shutil

    shutil.rmtree(project / ".git")
    done = check("--changed")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "name the changed files" in done.stderr
    git(project, "init")
    assert "left out" not in check("--changed").stderr


@pytest.mark.parametrize("name", ["pyproject.toml", "base.json"])
def test_a_change_of_the_configuration_concerns_every_target(project: Path, name: str) -> None:
    write(project / "pyproject.toml", CONFIG + 'baseline = "base.json"\n')
    write(project / "base.json", '{"version": 1, "findings": []}')
    assert "left out" not in check("--changed", name).stderr


def test_what_was_never_checked_is_checked(project: Path) -> None:
    runs()
    write(project / "pyproject.toml", CONFIG + "seed = 3\n")
    check("--changed", "README.md")
    assert runs() == ["one.py:build", "two.py:build"]
    done = check("--changed", "README.md", "--no-cache")
    assert runs() == ["one.py:build", "two.py:build"]
    assert "left out" not in done.stderr


def test_targets_may_stand_beside_the_files(project: Path) -> None:
    runs()
    write(project / "two.py", "def build():\n    return 'grave'\n")
    done = check("--changed", "two.py:build", "two.py", "shared.py")
    assert (done.exit_code, runs()) == (1, ["two.py:build"])
    assert "one.py" not in done.output


def test_nothing_left_is_an_empty_report_in_machine_formats(project: Path) -> None:
    done = check("--changed", "README.md", "--format", "json")
    assert done.exit_code == 0
    assert '"results": []' in done.stdout


NET = """
import torch
from torch import nn
import shared

def build():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), *shared.HEAD)
    return {"model": model, "inputs": torch.randn(16, 6), "targets": torch.arange(16) % 3, "loss": nn.CrossEntropyLoss()}
"""
HOOKED = """
repos:
  - repo: {hooks}
    rev: v1
    hooks:
      - id: nnlint
"""


def test_pre_commit_runs_the_hook(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit with pre-commit itself, its hooks from a clone, without network."""
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(repository), str(repository / "rules")]))
    hooks, project = tmp_path / "hooks", tmp_path / "project"
    hooks.mkdir()
    write(hooks / ".pre-commit-hooks.yaml", (repository / ".pre-commit-hooks.yaml").read_text())
    for arguments in (("init",), ("add", "."), ("commit", "-m", "hooks"), ("tag", "v1")):
        git(hooks, *arguments)
    project.mkdir()
    git(project, "init")
    write(project / ".pre-commit-config.yaml", HOOKED.format(hooks=hooks.as_uri()))
    write(project / "pyproject.toml", CONFIG + 'select = ["LOS001"]\n')
    write(project / "one.py", NET)
    write(project / "two.py", NET.replace("import shared\n", "").replace(", *shared.HEAD", ""))
    write(project / "shared.py", "HEAD = ()\n")
    write(project / ".gitignore", "__pycache__/\n")

    def commit() -> tuple[int, str]:
        git(project, "add", ".")
        done = subprocess.run(
            [sys.executable, "-m", "pre_commit", "run"], cwd=project, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            git(project, "commit", "-m", "more", "--no-verify")
        return done.returncode, done.stdout + done.stderr

    status, shown = commit()
    assert status == 0, shown
    assert "left out" not in shown
    write(project / "shared.py", "from torch import nn\nHEAD = (nn.Softmax(dim=1),)\n")
    for _ in range(2):  # a fault does not pass the second time
        status, shown = commit()
        assert status == 1, shown
        assert "LOS001" in shown
        assert "left out, no changed file concerns them: two.py:build (clean at its last check)" in shown
    write(project / "shared.py", "HEAD = []\n")
    assert commit()[0] == 0
    write(project / "README.md", "only words\n")
    status, shown = commit()
    assert status == 0, shown
    assert "left out, no changed file concerns them: one.py:build (clean" in shown
