"""Every snippet of the documentation runs: files are written, Python is executed, commands give what the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_DOCS = Path(__file__).resolve().parent.parent / "docs"
_PAGES = ("getting-started", "build-fn", "report", "configuration", "capture")
_FENCE = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"\s+# exit (\d)$")


@dataclass(frozen=True)
class _Block:
    language: str
    file: str | None
    text: str


def _blocks(page: str) -> list[_Block]:
    found = _FENCE.findall((_DOCS / f"{page}.md").read_text(encoding="utf-8"))
    return [_Block(language, file or None, text) for language, file, text in found]


@pytest.mark.parametrize("page", _PAGES)
def test_snippets_do_what_the_page_says(page: str, tmp_path: Path) -> None:
    root = _DOCS.parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "rules")]), "NO_COLOR": "1"}
    for block in _blocks(page):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            _run([sys.executable, "-c", block.text], tmp_path, environment, status=0)
        elif block.language == "console":
            _session(block.text, tmp_path, environment)


def _session(text: str, folder: Path, environment: dict[str, str]) -> None:
    """Run the `$ nnlint ...` line; the lines below it have to appear in what it prints."""
    command, *expected = text.strip().splitlines()
    declared = _EXIT.search(command)
    words = shlex.split(_EXIT.sub("", command).removeprefix("$ "))
    assert words[0] == "nnlint"
    status = int(declared[1]) if declared else 0
    output = _run([sys.executable, "-m", "nnlint", *words[1:]], folder, environment, status=status)
    for line in expected:
        assert line in output, f"{command}: {line!r} is not in\n{output}"


def _run(command: list[str], folder: Path, environment: dict[str, str], *, status: int) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{command}: exit {done.returncode}, not {status}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_example_rule_pack_is_found_when_installed(tmp_path: Path) -> None:
    root = _DOCS.parent
    pack = root / "examples" / "rule_pack"
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(tmp_path), str(pack)]
    _run([sys.executable, *install], tmp_path, dict(os.environ), status=0)
    paths = os.pathsep.join([str(tmp_path), str(root), str(root / "rules")])
    environment = {**os.environ, "PYTHONPATH": paths, "NO_COLOR": "1"}
    (tmp_path / "net.py").write_text("from torch import nn\nmodel = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))\n")
    assert "EXA001" in _run([sys.executable, "-m", "nnlint", "explain", "foreign-activation"], tmp_path, environment, status=0)
    command = [sys.executable, "-m", "nnlint", "check", "net.py:model", "--input", "4", "--select", "EXA"]
    assert "gelu is none of relu, silu" in _run([*command, "--fail-on", "warning"], tmp_path, environment, status=1)


def test_article_page_shows_what_nnlint_prints() -> None:
    root = _DOCS.parent
    paths = os.pathsep.join([str(root), str(root / "rules")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    _run([sys.executable, str(root / "scripts" / "gen_article.py"), "--check"], root, environment, status=0)
