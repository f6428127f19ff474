"""The documentation holds: every snippet runs and gives what the page says, and every section that is named exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from nnlint import kinds, registry
from tests.warm_python import WarmPython

_DOCS = Path(__file__).resolve().parent.parent / "docs"
_PAGES = (
    "tutorial/getting-started",
    "reference/build-fn",
    "reference/report",
    "reference/configuration",
    "explanation/capture",
    "how-to/accelerate",
    "how-to/baseline",
    "how-to/hugging-face",
    "how-to/html-report",
    "how-to/lightning",
    "how-to/notebook",
    "how-to/pytest",
    "how-to/run",
    "how-to/trackers",
    "how-to/training-loop",
)
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


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPython]:
    """One process that has torch imported; each snippet is a program in a fork of it."""
    made = WarmPython(_environment(tmp_path_factory.mktemp("shim")))
    yield made
    made.close()


@pytest.mark.parametrize("page", _PAGES)
def test_snippets_do_what_the_page_says(page: str, tmp_path: Path, python: WarmPython) -> None:
    run = _Snippets(python, tmp_path)
    cells = []
    for block in _blocks(page):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            run.program("code", [block.text], status=0)
        elif block.language == "ipython":
            cells.append(block.text)
        elif block.language == "console":
            run.session(block.text)
    if cells:
        run.program("cells", cells, status=0)


_SHIM = """
import sys


class Completed:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            from tests.libraries import library

            library("torchvision")


sys.meta_path.insert(0, Completed())
"""


def _environment(shim: Path) -> dict[str, str]:
    """The sources; torchvision as in other tests, since transformers imports it; pytest's plugin where it is not installed."""
    root = _DOCS.parent
    (shim / "sitecustomize.py").write_text(_SHIM, encoding="utf-8")
    paths = [str(shim), str(root), str(root / "rules")]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "WANDB_"))}
    environment = {**own, "PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1", "WANDB_SILENT": "true"}
    environment |= {"MLFLOW_ALLOW_FILE_STORE": "true", "OMP_NUM_THREADS": "1"}
    plugin = "nnlint.integrations.pytest_plugin"
    if all(entry.value != plugin for entry in entry_points(group="pytest11")):
        environment["PYTEST_PLUGINS"] = plugin
    return environment


@dataclass(frozen=True)
class _Snippets:
    """Runs what a page shows, in one folder."""

    python: WarmPython
    folder: Path

    def program(self, kind: str, arguments: list[str], *, status: int) -> str:
        """Run a program, which has to end with this status; gives what it printed."""
        own = {
            "MLFLOW_TRACKING_URI": (self.folder / "mlruns").as_uri(),
            "IPYTHONDIR": str(self.folder / ".ipython"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        ended, output = self.python.run(kind, arguments, self.folder, own)
        assert ended == status, f"{arguments}: exit {ended}, not {status}\n{output}"
        return output

    def session(self, text: str) -> None:
        """Run the `$ ...` line (nnlint, pytest or python); the lines below it have to appear in what it prints."""
        command, *expected = text.strip().splitlines()
        declared = _EXIT.search(command)
        words = shlex.split(_EXIT.sub("", command).removeprefix("$ "))
        kind, program = ("script", words[1:]) if words[0] == "python" else ("module", words)
        if words[:2] in (["nnlint", "check"], ["nnlint", "baseline"]):
            # Isolation, the cache and limits have tests of their own; the process here is one for this command already.
            program = [*words[:2], "--in-process", *words[2:]]
        output = self.program(kind, program, status=int(declared[1]) if declared else 0)
        shown = " ".join(output.split())  # where a line breaks depends on what stands before it
        for line in expected:
            assert " ".join(line.split()) in shown, f"{command}: {line!r} is not in\n{output}"


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
    (tmp_path / "net.py").write_text(
        "from torch import nn\nmodel = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))\n"
    )
    assert "EXA001" in _run(
        [sys.executable, "-m", "nnlint", "explain", "foreign-activation"], tmp_path, environment, status=0
    )
    command = [sys.executable, "-m", "nnlint", "check", "net.py:model", "--input", "4", "--select", "EXA"]
    assert "gelu is none of relu, silu" in _run([*command, "--fail-on", "warning"], tmp_path, environment, status=1)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(pack / "tests"), "--rootdir", str(tmp_path)]
    assert "3 passed" in _run(tests, tmp_path, environment, status=0)


def test_every_kind_of_operation_is_documented() -> None:
    """A kind of the table is in the list for rule writers, or is the name of one operation."""
    used = {kind for info in kinds.OPS.values() for kind in info.kinds}
    undocumented = used - set(kinds.MEANINGS) - set(kinds.OPS)
    assert not undocumented
    rows = {f"| `{kind}` | {meaning} |" for kind, meaning in kinds.MEANINGS.items()}
    assert rows <= set((_DOCS / "reference" / "op-kinds.md").read_text().splitlines())


def test_article_page_shows_what_nnlint_prints() -> None:
    root = _DOCS.parent
    paths = os.pathsep.join([str(root), str(root / "rules")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    _run([sys.executable, str(root / "scripts" / "gen_article.py"), "--check"], root, environment, status=0)


_ANCHOR = re.compile(r"calibration\.md#([\w-]+)|(?<=and )#([\w-]+)")


def _sections() -> set[str]:
    headings = re.findall(r"^#+ (.+)$", (_DOCS / "evidence" / "calibration.md").read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_sections_of_the_calibration_that_are_named_exist() -> None:
    files = [file for folder in ("nnlint", "rules") for file in (_DOCS.parent / folder).rglob("*.py")]
    files += (_DOCS / "reference" / "rules").glob("*.md")
    known = _sections()
    missing = {
        f"{file.relative_to(_DOCS.parent)}: #{anchor}"
        for file in files
        for line in file.read_text().splitlines()
        if "calibration.md#" in line
        for anchor in map("".join, _ANCHOR.findall(line))
        if anchor not in known
    }
    assert not missing


def test_every_threshold_names_its_calibration() -> None:
    for rule in registry.load().rules:
        numbers = [
            name
            for name, option in (rule.options.model_fields if rule.options is not None else {}).items()
            if isinstance(option.default, (int, float)) and not isinstance(option.default, bool)
        ]
        said = (rule.options.__doc__ or "") if rule.options is not None else ""
        explained = re.search(r"No calibration: \w[\w ,]{10,}", said)
        assert not numbers or explained or "calibration: docs/evidence/calibration.md#" in said, (
            f"{rule.code}: {', '.join(numbers)}"
        )


_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)[^)]*\)")


def test_links_between_pages_lead_somewhere() -> None:
    root = _DOCS.parent
    broken = {
        f"{page.relative_to(root)}: {target}"
        for page in (*_DOCS.rglob("*.md"), *root.glob("*.md"))
        for target in _LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    }
    assert not broken


def test_measured_tables_are_filled_in() -> None:
    text = (_DOCS / "evidence" / "calibration.md").read_text()
    for name, table in re.findall(r"<!-- (.+?): start -->(.*?)<!-- \1: end -->", text, flags=re.DOTALL):
        assert table.strip(), f"nothing was measured for {name}"
