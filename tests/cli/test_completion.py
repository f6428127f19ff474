"""Shell completion: what click hands to bash, zsh and fish, and bash itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = '[tool.nnlint]\ntargets = ["nets.py:small", "nets.py:large", {target = "package.module:build", deep = true}]\n'
#: Runs the command as its script does, and says whether torch was imported.
CALL = """
import sys
from nnlint.cli import main
try:
    main(prog_name="nnlint")
finally:
    assert "torch" not in sys.modules, "completion imported torch"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    return tmp_path


def complete(folder: Path, line: str, *, shell: str = "bash") -> list[str]:
    """What the shell is told for a line; the last word is the one that is being typed."""
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "fish": {"COMP_WORDS": line, "COMP_CWORD": words[-1]},
    }
    environment = {**os.environ, **asked[shell], "_NNLINT_COMPLETE": f"{shell}_complete"}
    done = subprocess.run(
        [sys.executable, "-c", CALL], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def values(folder: Path, line: str) -> list[str]:
    return [answer.partition(",")[2] for answer in complete(folder, line)]


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("nnlint ex", {"explain"}),
        ("nnlint explain LOS00", {"LOS001", "LOS002"}),
        ("nnlint explain los00", {"LOS001", "LOS002"}),
        ("nnlint explain softmax-b", {"softmax-before-cross-entropy"}),
        ("nnlint explain SI", {"SIG", "SIG001"}),
        ("nnlint rules --family ", {"LOS", "SIG", "RUN"}),
        ("nnlint check --select LOS001,sig00", {"LOS001,SIG001"}),
        ("nnlint check --ignore dead-u", {"dead-units"}),
        ("nnlint check --probe over", {"overfit"}),
        ("nnlint check --format ju", {"junit"}),
        ("nnlint lr nets", {"nets.py:small", "nets.py:large"}),
    ],
)
def test_words_are_completed(folder: Path, line: str, some: set[str]) -> None:
    found = values(folder, line)
    assert some <= set(found)
    last = line.rpartition(" ")[2]
    assert all(value.lower().startswith(last.lower()) for value in found)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("nnlint check ", ["nets.py:small", "nets.py:large", "package.module:build"]),
        ("nnlint check nets.py:l", ["nets.py:large"]),
        ("nnlint check nets.py :", ["small", "large"]),
        ("nnlint check nets.py : s", ["small"]),
        ("nnlint config pack", ["package.module:build"]),
    ],
)
def test_targets_of_the_configuration_are_completed_as_bash_splits_them(folder: Path, line: str, found: list[str]) -> None:
    assert values(folder, line) == found


def test_files_where_no_target_begins_so(folder: Path) -> None:
    assert complete(folder, "nnlint check scr") == ["file,scr"]
    (folder / "pyproject.toml").write_text("not TOML at all [")
    assert complete(folder, "nnlint check n") == ["file,n"]


def test_zsh_and_fish_show_what_a_code_stands_for(folder: Path) -> None:
    fish = complete(folder, "nnlint explain LOS001", shell="fish")
    assert any("LOS001" in line and "softmax-before-cross-entropy" in line for line in fish), fish
    zsh = complete(folder, "nnlint explain LOS001", shell="zsh")
    assert zsh[:3] == ["plain", "LOS001", "softmax-before-cross-entropy"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_get_a_script_as_documented(folder: Path, repository: Path, shell: str) -> None:
    page = (repository / "docs/how-to/completion.md").read_text()
    assert f"_NNLINT_COMPLETE={shell}_source nnlint" in page
    environment = {**os.environ, "_NNLINT_COMPLETE": f"{shell}_source"}
    done = subprocess.run(
        [sys.executable, "-c", CALL], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert f"_NNLINT_COMPLETE={shell}_complete" in done.stdout


BASH = """
eval "$(_NNLINT_COMPLETE=bash_source nnlint)"
COMP_WORDS=(nnlint explain LOS00)
COMP_CWORD=2
_nnlint_completion nnlint
echo "${COMPREPLY[@]}"
"""


def test_bash_itself_completes(folder: Path, repository: Path) -> None:
    """The lines of the documentation in a real bash, which calls the program by its name."""
    program = folder / "nnlint"
    program.write_text(f"#!{sys.executable}\n{CALL}")
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(repository), str(repository / "rules")]),
    }
    command = [str(shutil.which("bash")), "--norc", "-c", BASH]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert {"LOS001", "LOS002"} <= set(done.stdout.split()), done.stderr
