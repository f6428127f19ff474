"""Bad input of every kind: one message that says what is wrong and what to write, exit status 2, and never a traceback."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nnlint.cli import main

NET = """
import torch
from torch import nn

def build():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return {"model": model, "inputs": torch.randn(16, 6), "targets": torch.arange(16) % 3, "loss": nn.CrossEntropyLoss()}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with one good file and the bad ones; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    (tmp_path / "latin.py").write_bytes(b'name = "caf\xe9"\n')
    (tmp_path / "binary.py").write_bytes(b"\x00\x01\x02")
    (tmp_path / "cut.py").write_text("def build(:\n", encoding="utf-8")
    (tmp_path / "empty.py").write_text("", encoding="utf-8")
    (tmp_path / "data.json").write_text("{}", encoding="utf-8")
    (tmp_path / "weights.pt").write_text("junk", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    yield tmp_path
    for name in ("net", "folder"):
        sys.modules.pop(name, None)


def run(*arguments: str) -> Result:
    """The command in this process: what it raises besides an exit is an error of the test."""
    return CliRunner().invoke(main, [*arguments], catch_exceptions=False)


CHECKED = ["check", "--in-process", "--no-cache"]


@pytest.mark.parametrize(
    ("arguments", "said", "fix"),
    [
        (["nett.py:build"], "file nett.py not found", "write net.py"),
        (["none/net.py:build"], "there is no directory", "correct the path"),
        (["net.py:biuld"], "has no attribute 'biuld'", "write net.py:build"),
        (["net.build"], "'net' not found|net is a module", "write net:build"),
        (["net.py:build("], "malformed target", "write module:attribute"),
        (["net.py:build(3)"], "does not take the arguments", "write the arguments"),
        (["latin.py:build"], "latin.py is not valid Python: the file is not UTF-8 text", "save it as UTF-8"),
        (["binary.py:build"], "binary.py is not valid Python: the file is not UTF-8 text", "save it as UTF-8"),
        (["cut.py:build"], "cut.py is not valid Python", "correct the line"),
        (["empty.py:build"], "has no attribute 'build'", "define build in empty.py"),
        (["data.json"], "data.json is not a Python file", "name a .py file"),
        (["folder"], "folder is a folder", "name a file in it: folder/model.py"),
        (["folder:build"], "has no attribute 'build'", "folder is a folder: name a file in it"),
        (["./folder"], "is a directory", "write ./folder/model.py:attribute"),
        (["hf:nowhere.json"], "no Hugging Face configuration", "give a config.json"),
        (["net.py:build", "--weights", "weights.pt"], "cannot be read as weights", "torch.save"),
        (["net.py:build", "--weights", "folder"], "is a folder", "torch.save"),
        (["net.py:build", "--device", "gpu"], "unknown device 'gpu'", "write cpu, cuda"),
        (["net.py:build", "--input", "3x"], "a dimension is missing", "write it like 3x32x32"),
        (["a" * 300 + ".py:build"], "not found", "correct the path"),
        (["net.py:build", "--loss", "croos_entropy"], "did you mean cross_entropy", "write one of"),
    ],
)
def test_targets(place: Path, arguments: list[str], said: str, fix: str) -> None:
    done = run(*CHECKED, *arguments)
    text = " ".join(done.stdout.split())
    assert done.exit_code == 2
    assert any(part in text for part in said.split("|"))
    assert fix in text.partition(" fix ")[2]
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'check'?"),
        ([*CHECKED, "net.py:build", "--selct", "LOS"], "No such option '--selct'"),
        ([*CHECKED, "net.py:build", "--select", "LOS999"], "unknown rule 'LOS999'; did you mean LOS"),
        ([*CHECKED, "net.py:build", "--output", "report.yml"], "no format has the suffix .yml; name the format, as in json:report.yml"),
        ([*CHECKED, "net.py:build", "--output", "html:folder"], "is a folder: name a file in it"),
        ([*CHECKED, "net.py:build", "--output", "none/report.html"], "the folder none does not exist"),
        ([*CHECKED, "net.py:build", "--baseline", "none.json"], "`nnlint baseline --file none.json` writes it"),
        ([*CHECKED, "net.py:build", "--baseline", "folder"], "folder is a folder: name a file in it"),
        ([*CHECKED, "net.py:build", "--baseline", "data.json"], "is not an nnlint baseline"),
        ([*CHECKED, "net.py:build", "--config", "folder"], "cannot be read: Is a directory"),
        (["baseline", "net.py:build", "--in-process", "--file", "none/x.json"], "the folder none does not exist"),
        (["baseline", "nett.py:build", "--in-process"], "RUN001 file nett.py not found"),
        (["diff", "none.json", "data.json"], "`nnlint check --output json:none.json` writes a report"),
        (["diff", "data.json", "data.json"], "data.json is not a report"),
        (["init", "none"], "none does not exist"),
        (["init", "binary.py"], "not valid Python"),
        (["init", "empty.py"], "found no function that returns a model"),
        (["run", "net"], "no such script: net; did you mean net.py?"),
        (["run", "folder"], "folder is a folder: name a script in it"),
        (["run", "-m", "no_such_module"], "No module named no_such_module"),
        (["run", "-m", "folder"], "cannot be directly executed"),
        (["rules", "--family", "XYZ"], "--family XYZ: there are ARC"),
        (["explain", "sofmax"], "did you mean softmax"),
    ],
)
def test_options_and_files(place: Path, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[tool.nnlint\n", "not valid TOML"),
        (b"\xff\xfe", "not UTF-8 text (byte 0): save it as UTF-8"),
        (b'[tool.nnlint]\ntargts = ["net.py:build"]', "unknown key targts; did you mean targets?"),
        (b'[tool.nnlint]\ntargets = "net.py:build"', "targets: expects a list in brackets, got 'net.py:build'"),
        (b"[tool.nnlint.rules.LOS018]\nexces = 0.7", "rules.LOS018: unknown key exces; did you mean excess?"),
        (b'[tool.nnlint.rules.LOS018]\nexcess = "x"', "rules.LOS018: excess: expects a number, got 'x'"),
        (b'[tool.nnlint]\nselect = ["LOS999"]', "unknown rule 'LOS999'"),
    ],
)
@pytest.mark.parametrize("command", [["check", "net.py:build", "--in-process"], ["config"]], ids=["check", "config"])
def test_configuration(place: Path, text: bytes, message: str, command: list[str]) -> None:
    (place / "pyproject.toml").write_bytes(text)
    done = run(*command)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert "pydantic" not in done.output


def test_a_script_that_is_no_python(place: Path) -> None:
    done = run("run", "cut.py")
    assert done.exit_code == 2
    assert "RUN012" in done.stderr
    assert "cut.py is not valid Python" in done.stderr
    assert "Traceback" not in done.output


def test_a_starter_is_not_added_to_a_file_that_is_no_text(place: Path) -> None:
    (place / "pyproject.toml").write_bytes(b"\xff\xfe")
    done = run("init")
    assert done.exit_code == 2
    assert "pyproject.toml: not UTF-8 text" in done.stderr
    assert (place / "pyproject.toml").read_bytes() == b"\xff\xfe"


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("jinja2", [*CHECKED, "net.py:build", "--output", "report.html"], "pip install 'nnlint[html]'"),
        ("jinja2", ["run", "--format", "html", "net.py"], "pip install 'nnlint[html]'"),
        ("watchfiles", ["check", "net.py:build", "--watch"], "pip install 'nnlint[watch]'"),
    ],
)
def test_a_missing_extra_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, module: str, arguments: list[str], extra: str
) -> None:
    found = importlib.util.find_spec
    for user in ("nnlint.cli.output", "nnlint.cli.watching"):
        monkeypatch.setattr(f"{user}.find_spec", lambda name: None if name == module else found(name))
    done = run(*arguments)
    assert done.exit_code == 2
    assert extra in done.stderr


def test_what_no_command_foresaw_is_no_finding(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = place / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    lost = run("check", str(place / "net.py:build"))
    assert (lost.exit_code, "working directory does not exist" in lost.stderr) == (2, True)
    monkeypatch.chdir(place)
    monkeypatch.setattr("nnlint.cli.catalogue.load_cards", lambda: 1 / 0)
    crashed = run("rules", "--family", "LOS")
    assert crashed.exit_code == 2
    assert "nnlint itself failed: ZeroDivisionError" in crashed.stderr


def test_a_name_that_is_no_utf8(place: Path) -> None:
    folder = place / os.fsdecode(b"n\xff\xe9me")
    folder.mkdir()
    (folder / "net.py").write_text(NET, encoding="utf-8")
    assert run(*CHECKED, "--select", "ARC005", f"{folder}/net.py:build").exit_code == 0
