"""The wheel, made from the sdist and installed alone, works outside the repository: `-e` hides what a wheel lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import new_rule

# One process builds and installs once for all tests here.
pytestmark = pytest.mark.xdist_group("wheel")

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "shared", "results")


def _run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    return subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since setuptools leaves build/ and metadata beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(repository, folder / "source", ignore=IGNORED)
    built = _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", "source", cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    (made,) = (folder / "dist").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; torch and the rest come from the running one through a .pth file."""
    folder = tmp_path_factory.mktemp("installed")
    made = _run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    assert made.returncode == 0, made.stderr
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    done = _run(*pip, cwd=folder)
    assert done.returncode == 0, done.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path, repository: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"nnlint", "nnlint_rules"}
    assert {"nnlint/py.typed", "nnlint_rules/py.typed"} <= set(names)
    sources = {str(file.relative_to(repository)) for file in (repository / "nnlint").rglob("*.py")}
    rules = {str(file.relative_to(repository / "rules")) for file in (repository / "rules").rglob("*.py")}
    assert sources | rules == {name for name in names if name.endswith(".py")}


def test_command_line_works_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    nnlint = installed / "bin" / "nnlint"
    shown = _run(installed / "bin" / "python", "-c", "import nnlint; print(nnlint.__file__)", cwd=tmp_path)
    assert shown.stdout.startswith(str(installed)), shown.stdout + shown.stderr

    assert _run(nnlint, "--version", cwd=tmp_path).stdout.strip().endswith("0.1.0")
    rules = _run(nnlint, "rules", cwd=tmp_path)
    assert rules.returncode == 0, rules.stderr
    assert "LOS001" in rules.stdout

    shutil.copy(EXAMPLES / "quickstart.py", tmp_path / "mymodel.py")
    for target in ("mymodel.py:build", "mymodel:build"):
        checked = _run(nnlint, "check", target, cwd=tmp_path)
        assert checked.returncode == 1, checked.stdout + checked.stderr
        assert "LOS001" in checked.stdout


@pytest.fixture
def pack(installed: Path) -> Iterator[Path]:
    """A third-party rule pack, as pip would have installed it beside nnlint."""
    (site,) = installed.glob("lib/python*/site-packages")
    package, metadata = site / "acme_rules", site / "acme_rules-1.0.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "__init__.py").write_text("")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rules\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[nnlint.rules]\nacme = acme_rules\n")
    yield package
    shutil.rmtree(package)
    shutil.rmtree(metadata)


def test_third_party_rules_are_found(installed: Path, pack: Path, tmp_path: Path) -> None:
    assert new_rule.main(["ARC999", "acme-shrink", "architecture", "--root", str(tmp_path)]) == 0
    shutil.copy(tmp_path / "rules/nnlint_rules/architecture/acme_shrink.py", pack)
    bad = tmp_path / "fixtures/architecture/acme_shrink/bad.py"
    checked = _run(installed / "bin" / "nnlint", "check", "--select", "ARC999", f"{bad}:build", cwd=tmp_path)
    assert "ARC999" in checked.stdout, checked.stdout + checked.stderr
    assert checked.returncode == 0, "a warning alone does not fail the check"


def test_broken_rule_pack_does_not_look_clean(installed: Path, pack: Path, tmp_path: Path) -> None:
    (pack / "broken.py").write_text("import no_such_module_at_all\n")
    shutil.copy(EXAMPLES / "healthy.py", tmp_path)
    checked = _run(installed / "bin" / "nnlint", "check", "healthy.py:build", cwd=tmp_path)
    assert checked.returncode == 2
    assert "acme_rules.broken" in checked.stderr
