"""Try nnlint under each supported torch: an environment per version, a smoke suite of sixty checks, one table.

    python scripts/torch_matrix.py --versions 2.4.1 2.6.0 2.8.0 2.10.0 2.13.0 --root /tmp/torch-envs --write
    python scripts/torch_matrix.py --smoke          # the sixty checks under the torch of this interpreter

Environments are kept in `--root` and used again. `--write` puts the table into docs/evidence/torch-versions.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "evidence" / "torch-versions.md"
FIXTURES = ROOT / "fixtures"
VERSIONS = ("2.4.1", "2.6.0", "2.8.0", "2.10.0", "2.13.0")
#: Rules whose twins are checked: two checks each.
RULES = 30
_MINUTES = 30


@dataclass(frozen=True)
class Outcome:
    """What the smoke suite said under one torch.

    Attributes:
        torch: the version that ran, or the one that could not be installed.
        passed: checks whose findings are the expected ones.
        failed: each other check with the reason.
        problem: why nothing could be checked; empty where it could.
    """

    torch: str
    passed: int = 0
    failed: tuple[str, ...] = ()
    problem: str = ""


def smoke() -> Outcome:
    """Check sixty fixtures with the torch of this interpreter and compare their findings with what they declare."""
    sys.path[:0] = [str(ROOT), str(ROOT / "rules")]
    import torch

    from nnlint import registry
    from nnlint.engine import check
    from nnlint.testing.expectations import faults, read_builds

    known = registry.load()
    levels = {rule.code: rule.level for rule in known.rules}
    passed, failed = 0, []
    for file in fixtures():
        for build in read_builds(file)[:1]:
            try:
                wrong = faults(build, check(build.target, build.check_settings(), registry=known), levels)
            except Exception as error:
                wrong = [f"{type(error).__name__}: {error}"]
            passed += not wrong
            failed += [f"{file.relative_to(FIXTURES)}: {reason}" for reason in wrong]
    return Outcome(torch.__version__, passed, tuple(failed))


def fixtures() -> Iterator[Path]:
    """Both twins of thirty rules, spread evenly over the families."""
    files = FIXTURES.glob("*/*/bad.py")
    # The twins of the loop rules are training scripts, which `nnlint check` cannot judge.
    folders = sorted(file.parent for file in files if "\ndef build" in file.read_text(encoding="utf-8"))
    for position in range(RULES):
        folder = folders[position * len(folders) // RULES]
        yield from (folder / "bad.py", folder / "good.py")


def environment(version: str, root: Path) -> Path:
    """The interpreter of an environment with this torch.

    Raises:
        subprocess.CalledProcessError: torch or a requirement could not be installed.
    """
    folder = root / f"torch-{version}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    ready = folder / ".ready"
    if not ready.is_file():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-cache-dir"]
        # torch first and alone: in one go pip may take another build to please nnlint's range.
        for wanted in ([f"torch=={version}", "numpy"], ["-e", str(ROOT)]):
            subprocess.run([*pip, *wanted], check=True, capture_output=True, text=True)
        ready.touch()
    return python


def trial(version: str, root: Path) -> Outcome:
    """The smoke suite under this torch, in a process of its own."""
    try:
        python = environment(version, root)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:] or ["pip failed"]
        return Outcome(version, problem=f"could not be installed: {last[0]}")
    names = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "rules")]), "OMP_NUM_THREADS": "1"}
    command = [str(python), str(Path(__file__).resolve()), "--smoke", "--json"]
    done = subprocess.run(
        command, env=names, capture_output=True, text=True, check=False, timeout=60 * _MINUTES, cwd=ROOT
    )
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return Outcome(version, problem=f"the suite did not end: {last[0]}")
    return Outcome(found["torch"], found["passed"], tuple(found["failed"]), found["problem"])


def page(outcomes: list[Outcome]) -> str:
    """The table in docs/evidence."""
    python = ".".join(map(str, sys.version_info[:3]))
    lines = [
        "# Supported versions of torch",
        "",
        "<!-- Written by scripts/torch_matrix.py --write -->",
        "",
        f"Both twins of {RULES} rules, spread over all families, are checked under each torch: {2 * RULES} checks, on the CPU,",
        f"with Python {python}. A check passes if its findings are the ones that the fixture declares.",
        "Run again with `python scripts/torch_matrix.py --write`.",
        "",
        "| torch | checks passed | what differs |",
        "|---|---|---|",
    ]
    for outcome in outcomes:
        said = outcome.problem or "; ".join(outcome.failed) or "nothing"
        lines.append(f"| {outcome.torch} | {outcome.passed} of {2 * RULES} | {said.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """0 where every check passed under every version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS))
    parser.add_argument("--root", type=Path, default=ROOT / "build" / "torch-envs")
    parser.add_argument("--write", action="store_true", help="write docs/evidence/torch-versions.md")
    parser.add_argument("--smoke", action="store_true", help="only run the checks under the torch of this interpreter")
    parser.add_argument("--json", action="store_true", help="with --smoke: one line of JSON")
    arguments = parser.parse_args()
    if arguments.smoke:
        outcomes = [smoke()]
        print(json.dumps(asdict(outcomes[0])) if arguments.json else page(outcomes))
    else:
        outcomes = [trial(version, arguments.root) for version in arguments.versions]
        print(page(outcomes))
    if arguments.write:
        PAGE.write_text(page(outcomes), encoding="utf-8")
    return int(any(outcome.failed or outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
