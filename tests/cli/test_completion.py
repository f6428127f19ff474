"""Shell completion: what click hands to bash, zsh and fish, and these shells themselves."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
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


@pytest.fixture
def environment(folder: Path, repository: Path) -> dict[str, str]:
    """An environment whose PATH leads to a program called nnlint."""
    program = folder / "nnlint"
    program.write_text(f"#!{sys.executable}\n{CALL}")
    program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(repository), str(repository / "rules")]),
        "HOME": str(folder),
        "TERM": "dumb",
    }


def shell_of(name: str) -> str:
    """The path of a shell; CI installs all of them."""
    found = shutil.which(name)
    assert found is not None, f"install {name}, as .ci/run does: apt-get install {name}"
    return found


BASH = """
eval "$(_NNLINT_COMPLETE=bash_source nnlint)"
COMP_WORDS=(nnlint explain LOS00)
COMP_CWORD=2
_nnlint_completion nnlint
echo "${COMPREPLY[@]}"
"""


def test_bash_itself_completes(folder: Path, environment: dict[str, str]) -> None:
    """The lines of the documentation in a real bash, which calls the program by its name."""
    command = [shell_of("bash"), "--norc", "-c", BASH]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert {"LOS001", "LOS002"} <= set(done.stdout.split()), done.stderr


FISH = """
_NNLINT_COMPLETE=fish_source nnlint | source
complete --do-complete "nnlint explain LOS00"
complete --do-complete "nnlint check nets.py:l"
"""


def test_fish_itself_completes(folder: Path, environment: dict[str, str]) -> None:
    command = [shell_of("fish"), "--no-config", "-c", FISH]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert "LOS001\tsoftmax-before-cross-entropy" in done.stdout.splitlines(), done.stderr
    assert done.stdout.splitlines()[-1] == "nets.py:large"


class Terminal:
    """A shell at a terminal of its own: what is typed, and what it shows."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._keyboard, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 200, 0, 0))
        self._shell = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=end, stdout=end, stderr=end, start_new_session=True
        )
        os.close(end)

    def type(self, text: str, *, until: str) -> str:
        """Type, and read until the shell has shown something."""
        os.write(self._keyboard, text.encode())
        shown = ""
        while until not in shown:
            ready, _, _ = select.select([self._keyboard], [], [], 120)
            assert ready, f"{until!r} never came: {shown}"
            shown += os.read(self._keyboard, 65536).decode(errors="replace")
        return shown

    def close(self) -> None:
        """End the shell."""
        self._shell.kill()
        self._shell.wait()
        os.close(self._keyboard)


ZSH = """PS1='% '; autoload -U compinit; compinit -u -D; eval "$(_NNLINT_COMPLETE=zsh_source nnlint)"; echo re''ady\n"""
CLEAR = "\x15"


def test_zsh_itself_completes(folder: Path, environment: dict[str, str]) -> None:
    """The lines of the documentation, and the Tab key, in a real zsh."""
    zsh = Terminal([shell_of("zsh"), "-f", "-i"], folder, environment)
    try:
        zsh.type(ZSH, until="ready")
        shown = zsh.type("nnlint explain LOS00\t", until="LOS009")
        assert re.search("LOS001 +-- softmax-before-cross-entropy", shown)
        zsh.type(f"{CLEAR}nnlint explain softmax-bef\t", until="softmax-before-cross-entropy")
        zsh.type(f"{CLEAR}nnlint check nets.py:l\t", until="nets.py:large")
    finally:
        zsh.close()
