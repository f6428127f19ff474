"""`.nnlint_cache/`: what has not changed is answered without a check, and nothing stale ever is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nnlint.cache import opened, surroundings
from nnlint.cache.recording import Recording
from nnlint.cli import main
from nnlint.config import CheckSettings
from nnlint.registry import Registry
from nnlint.worker import job

NET = """
import os
import helper
import package.part
from pathlib import Path

try:
    import faster
except ImportError:
    faster = None
from tabulate import tabulate

HERE = Path(__file__).parent

def build():
    text = (HERE / "data.txt").read_text()
    if os.environ.get("FLAG") or (HERE / "switch").exists():
        text += "flagged"
    samples = os.listdir(HERE / "samples")
    return f"clean {helper.WORD} {package.part.WORD} {text} {'clean' if samples else 'grave'}"

def other():
    return "clean"
"""
CONFIG = '[tool.nnlint]\ntargets = ["net.py:build"]\n'


@pytest.fixture
def project(stub: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, and an engine that logs each check."""
    folder = stub / "project"
    for below in ("package", "samples", "unrelated"):
        (folder / below).mkdir(parents=True)
    write(folder / "pyproject.toml", CONFIG)
    write(folder / "net.py", NET)
    write(folder / "helper.py", "WORD = 'clean'\n")
    write(folder / "package/__init__.py", "")
    write(folder / "package/part.py", "WORD = 'clean'\n")
    write(folder / "data.txt", "clean")
    write(folder / "samples/a.txt", "a")
    monkeypatch.setattr("nnlint.worker.job.ENGINE", "reading_engine")
    for name in ("FLAG", "OTHER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def runs() -> int:
    """How often a target was really checked."""
    log = Path("../runs.log")
    return len(log.read_text().splitlines()) if log.exists() else 0


STYLES = ("text", "json", "sarif", "github", "gitlab", "junit", "markdown", "jsonl", "statistics", "html")


def test_an_unchanged_target_is_answered_from_the_cache_the_same_in_every_format(project: Path) -> None:
    write(project / "data.txt", "grave")
    outputs = [f"--output={style}:{style}.out" for style in STYLES]
    fresh = check(*outputs)
    files = {style: Path(f"{style}.out").read_text() for style in STYLES}
    cached = check(*outputs)
    assert runs() == 1
    assert (cached.exit_code, cached.stdout) == (fresh.exit_code, fresh.stdout)
    told, *rest = cached.stderr.splitlines()
    assert told == "nnlint: unchanged, answered from .nnlint_cache: net.py:build"
    assert rest == fresh.stderr.splitlines()
    assert files == {style: Path(f"{style}.out").read_text() for style in STYLES}
    for style in STYLES:
        # The page measures what the other formats do not show: with it, it is another check.
        assert check("--format", style, "--output=html:page.html").stdout == files[style]
    assert runs() == 1
    assert (project / ".nnlint_cache/.gitignore").read_text().endswith("*\n")


def test_only_what_changed_is_checked_again(project: Path) -> None:
    write(project / "pyproject.toml", '[tool.nnlint]\ntargets = ["net.py:build", "small.py:build"]\n')
    write(project / "small.py", "def build():\n    return 'clean'\n")
    check("--jobs", "2")
    write(project / "helper.py", "WORD = 'grave'\n")
    done = check("--format", "json")
    assert [result["target"] for result in json.loads(done.stdout)["results"]] == ["net.py:build", "small.py:build"]
    assert (runs(), done.exit_code) == (3, 1)
    assert "answered from .nnlint_cache: small.py:build\n" in done.stderr


def _touch(folder: Path) -> None:
    for file in folder.rglob("*.py"):
        os.utime(file, (1, 1))


STALE: dict[str, Callable[[Path], object]] = {
    "the file of the target": lambda at: write(at / "net.py", NET + "\n# changed\n"),
    "a module that it imports": lambda at: write(at / "helper.py", "WORD = 'grave'\n"),
    "a module of a package": lambda at: write(at / "package/part.py", "WORD = 'grave'\n"),
    "a package's __init__": lambda at: write(at / "package/__init__.py", "X = 1\n"),
    "a file that it reads": lambda at: write(at / "data.txt", "grave"),
    "a file that is gone": lambda at: (at / "samples/a.txt").unlink(),
    "a file that it looked for": lambda at: write(at / "switch", ""),
    "a new file in a folder that it lists": lambda at: write(at / "samples/b.txt", "b"),
    "a module that was missing": lambda at: write(at / "faster.py", ""),
    "a module in place of an installed one": lambda at: write(at / "tabulate.py", "tabulate = None\n"),
    "a package in place of a module": lambda at: (at / "helper").mkdir() or write(at / "helper/__init__.py", "WORD = 'x'"),
    "a submodule in place of an attribute": lambda at: (at / "package/part").mkdir(),
    "another content at the same time": lambda at: write(at / "helper.py", "WORD = 'grave'\n") or _touch(at),
    "a rule that is ignored": lambda at: write(at / "pyproject.toml", CONFIG + 'ignore = ["SIG"]\n'),
    "an option of a rule": lambda at: write(at / "pyproject.toml", CONFIG + "[tool.nnlint.rules.LOS018]\nshare = 0.1\n"),
    "an option of the target": lambda at: write(
        at / "pyproject.toml", '[tool.nnlint]\ntargets = [{target = "net.py:build", deep = true}]\n'
    ),
}


@pytest.mark.parametrize("change", STALE.values(), ids=STALE)
def test_a_change_makes_an_answer_stale(project: Path, change: Callable[[Path], object]) -> None:
    assert check().exit_code == 0
    change(project)
    assert "answered" not in check().stderr
    assert runs() == 2, "the answer came from the cache"


FRESH: dict[str, Callable[[Path], object]] = {
    "a file that nobody reads": lambda at: write(at / "README.md", "new"),
    "a new module that nobody imports": lambda at: write(at / "package/fresh.py", ""),
    "another folder": lambda at: write(at / "unrelated/x.py", "1"),
    "times without contents": _touch,
    "suppressions": lambda at: write(at / "pyproject.toml", CONFIG + 'expect = {SIG001 = "known"}\nfail-on = "error"\n'),
}


@pytest.mark.parametrize("change", FRESH.values(), ids=FRESH)
def test_what_a_result_does_not_hang_on_makes_nothing_stale(project: Path, change: Callable[[Path], object]) -> None:
    check()
    change(project)
    assert check().exit_code == 0
    assert runs() == 1


@pytest.mark.parametrize(
    ("name", "value", "times"), [("FLAG", "1", 2), ("OMP_NUM_THREADS", "7", 2), ("OTHER", "1", 1), ("COLUMNS", "70", 1)]
)
def test_variables_of_the_environment_count_where_they_are_read(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, times: int
) -> None:
    check()
    monkeypatch.setenv(name, value)
    check()
    assert runs() == times


@pytest.mark.parametrize(
    "arguments", [["--seed", "3"], ["--deep"], ["--ignore", "SIG"], ["--static"], ["--batch-size", "4"], ["--budget", "9s"]]
)
def test_other_options_are_another_check(project: Path, arguments: list[str]) -> None:
    check()
    check(*arguments)
    assert runs() == 2
    check(*arguments)
    check()
    assert runs() == 2, "both answers are kept"


def test_versions_count(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = project.parent / "site-packages"
    (site / "somepack").mkdir(parents=True)
    (site / "somepack/__init__.py").touch()
    information = site / "somepack-1.0.dist-info"
    information.mkdir()
    write(information / "METADATA", "Name: somepack\nVersion: 1.0\n")
    write(information / "entry_points.txt", "[nnlint.rules]\nsome = somepack\n")
    monkeypatch.syspath_prepend(site)
    check()
    check()
    assert runs() == 1
    write(site / "somepack/rule.py", "# a rule pack that changed\n")
    check()
    assert runs() == 2
    information.rename(site / "somepack-1.1.dist-info")
    check()
    assert runs() == 3
    monkeypatch.setattr(surroundings, "__version__", "99.0")
    check()
    check()
    assert runs() == 4


def test_weights_count(project: Path) -> None:
    write(project / "net.py", "from pathlib import Path\ndef build():\n    Path('net.pt').read_bytes()\n    return 'clean'\n")
    write(project / "net.pt", "1")
    check("--weights", "net.pt")
    write(project / "net.pt", "2")
    check("--weights", "net.pt")
    assert runs() == 2


#: Kind -> target, and what standard error says of it; nothing where the report says that the check was incomplete.
UNSEEN = {
    "another program": (
        "import subprocess\ndef build():\n    return subprocess.run(['echo', 'clean'], stdout=-1, text=True).stdout",
        "it starts another program: echo",
    ),
    "a shell": ("import os\ndef build():\n    os.system('true')\n    return 'clean'", "it starts another program: true"),
    "the network": ("""
import socket
def build():
    try:
        socket.create_connection(("127.0.0.1", 9))
    except OSError:
        pass
    return "clean"
""", "it uses the network: 127.0.0.1"),
    "a file that it changes": ("""
from pathlib import Path
def build():
    text = Path("data.txt").read_text()
    Path("data.txt").write_text(text + " ")
    return "clean"
""", "data.txt changed during the check"),
    "a spawned process": ("""
import multiprocessing
def build():
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    process.join()
    return "clean"
""", "it starts another program: "),
    "a failure": ("def build():\n    return 'failed'", ""),
    "a finding of the check itself": ("def build():\n    return 'budget'", ""),
    "a crash": ("import os\ndef build():\n    os._exit(3)", ""),
}


@pytest.mark.parametrize(("text", "said"), UNSEEN.values(), ids=UNSEEN)
def test_nothing_is_kept_of_what_cannot_be_followed_and_it_is_said(project: Path, text: str, said: str) -> None:
    write(project / "net.py", f"{text}\n")
    first = check()
    again = check()
    assert again.exit_code == first.exit_code
    assert runs() == 2
    for done in (first, again):
        told = [line for line in done.stderr.splitlines() if "not cached" in line]
        assert len(told) == bool(said)
        assert not said or (said in told[0] and told[0].startswith("nnlint: not cached, so checked anew each time: net.py:build ("))
    assert "not cached" not in check("--no-cache").stderr


def test_a_timeout_is_not_kept(project: Path) -> None:
    write(project / "net.py", "import time\ndef build():\n    time.sleep(60)\n")
    assert check("--timeout", "0.5s").exit_code == 2
    assert check("--timeout", "0.5s").exit_code == 2
    assert runs() == 2


FORKED = """
import os
from pathlib import Path
def build():
    child = os.fork()
    if child == 0:
        Path("data.txt").read_text()
        os.environ.get("FLAG")
        os._exit(0)
    os.waitpid(child, 0)
    return "clean"
"""


def test_what_a_forked_process_reads_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / "net.py", FORKED)
    check()
    check()
    assert runs() == 1
    write(project / "data.txt", "new")
    check()
    assert runs() == 2
    monkeypatch.setenv("FLAG", "1")
    check()
    assert runs() == 3


COMPILED = """
import ctypes, os
def build():
    library = ctypes.CDLL(None)
    os.close(library.open(b"samples/tensors.bin", 0))
    return "clean"
"""


def test_what_compiled_code_opens_counts(project: Path) -> None:
    write(project / "net.py", COMPILED)
    write(project / "samples/tensors.bin", "1")
    check()
    check()
    assert runs() == 1
    write(project / "samples/a.txt", "nobody opens it")
    check()
    assert runs() == 1
    write(project / "samples/tensors.bin", "2")
    check()
    assert runs() == (2 if sys.platform == "linux" else 1), "other systems do not tell of it"


@pytest.mark.parametrize(("package", "is_tool"), [("nnlint", False), ("numpy", True), ("somebodys", False)])
def test_an_installed_nnlint_looks_at_files_on_the_targets_behalf(tmp_path: Path, package: str, is_tool: bool) -> None:
    scope: dict = {}
    exec(compile("import sys; frame = sys._getframe()", f"/x/site-packages/{package}/a.py", "exec"), scope)
    assert Recording(tmp_path / "used", tmp_path)._is_asked_by_tool(scope["frame"]) is is_tool


LOADED = """
from pathlib import Path
from multiprocessing import get_context
def read(file):
    return Path(file).read_text()
def build():
    with get_context("fork").Pool(2) as pool:
        return " ".join(pool.map(read, ["data.txt", "samples/a.txt"]))
"""


def test_workers_that_talk_to_each_other_use_no_network(project: Path) -> None:
    write(project / "net.py", LOADED)
    write(project / "samples/a.txt", "clean")
    check()
    check()
    assert runs() == 1
    write(project / "samples/a.txt", "grave")
    assert check().exit_code == 1


WRITING = """
from pathlib import Path
def build():
    Path("made.txt").write_text("clean")
    return Path("made.txt").read_text()
"""


def test_files_that_it_writes_first_do_not_count(project: Path) -> None:
    write(project / "net.py", WRITING)
    check()
    check()
    assert runs() == 1


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xfe", b"0\n{}", None])
def test_a_damaged_cache_is_ignored_and_mended(project: Path, damage: bytes | None) -> None:
    check()
    (entry,) = (project / ".nnlint_cache").glob("*.json")
    entry.write_bytes(entry.read_bytes()[:-20] if damage is None else damage)
    assert check().exit_code == 0
    assert check().exit_code == 0
    assert runs() == 2, "damaged the first time, mended the second"


def test_an_entry_of_another_target_is_no_answer(project: Path) -> None:
    check()
    check("net.py:other")
    one, two = (project / ".nnlint_cache").glob("*.json")
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    check()
    assert runs() == 3


def test_the_cache_can_be_switched_off(project: Path) -> None:
    write(project / "pyproject.toml", CONFIG + "cache = false\n")
    check()
    assert not (project / ".nnlint_cache").exists()
    write(project / "pyproject.toml", CONFIG)
    check("--no-cache")
    check("--in-process")
    assert not (project / ".nnlint_cache").exists()
    assert runs() == 3


def test_a_folder_that_cannot_be_made_costs_nothing_but_the_cache(project: Path) -> None:
    write(project / ".nnlint_cache", "a file")
    assert check().exit_code == 0
    assert check().exit_code == 0
    assert runs() == 2


def test_a_baseline_uses_the_cache_and_is_applied_after_it(project: Path) -> None:
    write(project / "data.txt", "grave")
    assert check().exit_code == 1
    assert CliRunner().invoke(main, ["baseline"]).exit_code == 0
    assert check("--baseline", "nnlint-baseline.json").exit_code == 0
    assert runs() == 1


def test_rules_are_judged_even_where_nothing_is_left_to_check(project: Path, registry: Registry) -> None:
    check()
    done = check("--ignore", "ZZZ001")
    assert "unknown rule 'ZZZ001'" in done.stderr
    again = check("--ignore", "ZZZ001")
    assert "unknown rule 'ZZZ001'" in again.stderr
    assert runs() == 2


REAL = """
import torch
from torch import nn
import layers

def build():
    model = nn.Sequential(nn.Linear(6, layers.WIDTH), nn.ReLU(), nn.Linear(layers.WIDTH, 3), nn.Softmax(dim=1))
    return {"model": model, "inputs": torch.randn(16, 6), "targets": torch.arange(16) % 3, "loss": nn.CrossEntropyLoss()}
"""
CALL = """
import sys
from nnlint.cli import main
try:
    main(["check", "net.py:build", "--format", "json"])
except SystemExit as error:
    sys.exit(f"{error.code} {'torch' in sys.modules}")
"""


def test_the_real_engine_is_answered_without_torch(tmp_path: Path) -> None:
    write(tmp_path / "net.py", REAL)
    write(tmp_path / "layers.py", "WIDTH = 8\n")

    def call() -> tuple[str, str]:
        done = subprocess.run([sys.executable, "-c", CALL], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout, done.stderr

    fresh, told = call()
    assert told.endswith("1 False\n")
    assert "answered" not in told
    cached, told = call()
    assert told.startswith("nnlint: unchanged, answered from .nnlint_cache: net.py:build\n")
    assert told.endswith("1 False\n")
    assert cached == fresh
    write(tmp_path / "layers.py", "WIDTH = 9\n")
    changed, told = call()
    assert "answered" not in told
    assert json.loads(changed)["results"][0]["subject"]["parameters"] == 6 * 9 + 9 + 9 * 3 + 3


COMMENTED = """import helper  # nnlint: disable=LOS001 {reason}
TEXT = "# nnlint: disable=SIG001 in a string"
value = 1  # nnlint: disable=dead-units the past
def build():
    return "{words}"
"""


@pytest.mark.parametrize(
    ("words", "arguments", "unused"),
    [
        ("grave", [], ["dead-units at net.py:3"]),
        ("clean", [], ["LOS001 at net.py:1", "dead-units at net.py:3"]),
        ("clean skips", [], ["LOS001 at net.py:1"]),
        ("clean", ["--ignore", "LOS001,SIG"], []),
        ("clean failed", [], []),
    ],
)
def test_comments_that_accept_nothing_are_told(project: Path, words: str, arguments: list[str], unused: list[str]) -> None:
    write(project / "net.py", COMMENTED.format(words=words, reason="known"))
    told = [f"nnlint: warning: unused suppression: # nnlint: disable={place}" for place in unused]
    for _ in range(2):  # the second time from the cache
        done = check(*arguments)
        assert [line for line in done.stderr.splitlines() if "unused" in line] == told
    assert done.exit_code == (2 if "failed" in words else 0)


def test_a_comment_that_one_of_two_targets_needs_is_used(project: Path) -> None:
    write(project / "pyproject.toml", '[tool.nnlint]\ntargets = ["net.py:build", "net.py:other"]\n')
    write(project / "net.py", COMMENTED.format(words="grave", reason="known") + "def other():\n    return 'clean'\n")
    assert "LOS001 at" not in check().stderr


def test_a_folder_that_nobody_may_look_into_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open" / "below").mkdir(parents=True)
    (tmp_path / "closed").mkdir()
    exists = Path.exists

    def refused(path: Path) -> bool:
        if "closed" in path.parts:
            raise PermissionError(13, "Permission denied")
        return exists(path)

    monkeypatch.setattr(Path, "exists", refused)
    found = [Path(folder).name for folder in opened._folders(tmp_path)]
    assert found == [tmp_path.name, "closed", "open", "below"]


def test_a_target_that_cannot_be_followed_is_checked_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def begin(self) -> None:
            raise OSError(24, "Too many open files")

        def used(self) -> None:
            raise RuntimeError("os.environ is gone")

    monkeypatch.setattr(job, "Recording", lambda *_: Broken())
    request = job.Request("net.py:build", "{}", "nnlint.engine", "frames", "stack", 60.0, record=True)
    assert job._recording(request, CheckSettings()) is None
    assert job._used(Broken()) is None
    assert job._used(None) is None
