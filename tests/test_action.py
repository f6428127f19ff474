"""`action.yml`: its structure, and its steps run in bash as GitHub's runner would run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

NET = """
import torch
from torch import nn

def {name}():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3){last})
    return {{"model": model, "inputs": torch.randn(16, 6), "targets": torch.arange(16) % 3, "loss": nn.CrossEntropyLoss()}}
"""
BASH = shutil.which("bash")
_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


@pytest.fixture
def action(repository: Path) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((repository / "action.yml").read_text())
    return made


class Runner:
    """Runs single steps: expressions are looked up, files of the runner are read back."""

    def __init__(self, action: dict[str, Any], folder: Path, repository: Path, **inputs: str) -> None:
        self.action, self.folder, self.repository = action, folder, repository
        self.values = {f"inputs.{name}": str(given["default"]) for name, given in action["inputs"].items()}
        self.values |= {f"inputs.{name.replace('_', '-')}": value for name, value in inputs.items()}
        self.values |= {
            "inputs.python": inputs.get("python", sys.executable),
            "github.token": "secret",
            "github.repository": "owner/name",
            "github.event.pull_request.number": "7",
        }
        for name in ("temp", "bin"):
            (folder / name).mkdir(exist_ok=True)

    def step(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the step of this name."""
        (step,) = (step for step in self.action["runs"]["steps"] if step["name"] == name)
        script = self.folder / "script.sh"
        script.write_text(step["run"])
        given = {key: self._resolved(value) for key, value in step.get("env", {}).items()}
        files = {key: str(self.folder / key) for key in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        environment = {
            **os.environ,
            **files,
            **given,
            "RUNNER_TEMP": str(self.folder / "temp"),
            "GITHUB_ACTION_PATH": str(self.repository),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(self.repository), str(self.repository / "rules")]),
        }
        command = [str(BASH), "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]  # as the runner calls it
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        output = self.folder / "GITHUB_OUTPUT"
        for line in output.read_text().splitlines() if output.exists() else ():
            key, _, value = line.partition("=")
            self.values[f"steps.{step.get('id')}.outputs.{key}"] = value
        output.unlink(missing_ok=True)
        return done

    def _resolved(self, text: object) -> str:
        return _EXPRESSION.sub(lambda match: self.values[match[1]], str(text))

    def summary(self) -> str:
        return (self.folder / "GITHUB_STEP_SUMMARY").read_text()

    def stub(self, name: str, text: str) -> None:
        """A program of this name before all others."""
        file = self.folder / "bin" / name
        file.write_text(f"#!{BASH}\n{text}\n")
        file.chmod(0o755)


def test_it_is_a_composite_action_that_the_runner_accepts(action: dict[str, Any]) -> None:
    assert set(action) == {"name", "description", "branding", "inputs", "outputs", "runs"}
    assert action["runs"]["using"] == "composite"
    for name, given in action["inputs"].items():
        assert set(given) == {"description", "default"}, name
        assert isinstance(given["default"], str), f"{name}: inputs are strings"
    names = {f"inputs.{name}" for name in action["inputs"]}
    ids = {step["id"] for step in action["runs"]["steps"] if "id" in step}
    for step in action["runs"]["steps"]:
        assert set(step) <= {"name", "id", "if", "uses", "with", "shell", "run", "env", "working-directory"}
        assert ("run" in step) != ("uses" in step)
        assert ("shell" in step) == ("run" in step), "a composite action has to name the shell"
        # What a user or a pull request wrote never becomes part of a script.
        assert "${{" not in step.get("run", "")
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+(/[\w-]+)?@v\d+", step["uses"])
        text = yaml.safe_dump({key: value for key, value in step.items() if key != "run"})
        assert set(re.findall(r"inputs\.[\w-]+", text)) <= names
        assert set(re.findall(r"steps\.(\w+)\.", text)) <= ids
    written = set(re.findall(r'echo "(\w+)=', next(s["run"] for s in action["runs"]["steps"] if s.get("id") == "check")))
    for output in action["outputs"].values():
        (name,) = re.findall(r"steps\.check\.outputs\.(\w+)", output["value"])
        assert name in written or name in ("json", "sarif")


def test_its_inputs_are_documented(action: dict[str, Any], repository: Path) -> None:
    page = (repository / "docs/how-to/ci.md").read_text()
    assert all(f"| `{name}` |" in page for name in action["inputs"])


def test_the_steps_check_report_and_fail(action: dict[str, Any], tmp_path: Path, repository: Path) -> None:
    (tmp_path / "faulty.py").write_text(NET.format(name="build", last=", nn.Softmax(dim=1)"))
    (tmp_path / "other.py").write_text(NET.format(name="build", last=""))
    targets = "\n  faulty.py:build\n\nother.py:build  \n"
    runner = Runner(action, tmp_path, repository, targets=targets, args="--select 'LOS001, LOS002' --no-cache")
    done = runner.step("Check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("::error file=faulty.py")
    assert runner.values["steps.check.outputs.status"] == "1"
    assert runner.values["steps.check.outputs.written"] == "true"
    assert "LOS001" in runner.summary()
    for kind in ("json", "sarif", "markdown"):
        assert Path(runner.values[f"steps.check.outputs.{kind}"]).stat().st_size
    assert runner.step("Pass or fail").returncode == 1
    runner.stub("gh", 'echo "$*" >> calls; [[ "$*" == *--paginate* ]] && cat known 2> /dev/null; true')
    assert runner.step("Comment on the pull request").returncode == 0
    (tmp_path / "known").write_text("41\n42\n")
    assert runner.step("Comment on the pull request").returncode == 0
    calls = [line for line in (tmp_path / "calls").read_text().splitlines() if "--paginate" not in line]
    body = tmp_path / "temp/nnlint/comment.md"
    assert calls == [
        f"api --silent repos/owner/name/issues/7/comments --field body=@{body}",
        f"api --silent --method PATCH repos/owner/name/issues/comments/41 --field body=@{body}",
    ]
    assert body.read_text().startswith("<!-- nnlint -->\n")
    assert "LOS001" in body.read_text()
    long = Path(runner.values["steps.check.outputs.markdown"])
    long.write_text("\n".join(f"| row {number} | é |" for number in range(9000)))
    assert runner.step("Comment on the pull request").returncode == 0
    *_, last, empty, told = body.read_text().splitlines()
    assert len(body.read_text()) < 65536
    assert re.fullmatch(r"\| row \d+ \| é \|", last), "cut at the end of a line"
    assert (empty, told) == ("", "The report goes on in the summary of the run.")


def test_a_check_that_cannot_begin_fails_and_says_so(action: dict[str, Any], tmp_path: Path, repository: Path) -> None:
    runner = Runner(action, tmp_path, repository, args="--select NOSUCHRULE", targets="faulty.py:build")
    assert runner.step("Check").returncode == 0
    assert runner.values["steps.check.outputs.status"] == "2"
    assert "steps.check.outputs.written" not in runner.values
    assert "could not begin" in runner.summary()
    assert runner.step("Pass or fail").returncode == 2


@pytest.mark.parametrize(("package", "installed"), [("", None), ("nnlint==0.1.0", "nnlint==0.1.0")])
def test_what_is_installed(
    action: dict[str, Any], tmp_path: Path, repository: Path, package: str, installed: str | None
) -> None:
    runner = Runner(action, tmp_path, repository, package=package, python="fake-python")
    runner.stub("fake-python", 'echo "$@"')
    assert runner.step("Install nnlint").stdout.split() == [
        "-m", "pip", "install", "--disable-pip-version-check", installed or str(repository),
    ]  # fmt: skip


def test_the_gitlab_job_of_the_documentation_writes_what_it_promises(tmp_path: Path, repository: Path) -> None:
    page = (repository / "docs/how-to/ci.md").read_text()
    (job,) = (yaml.safe_load(block)["nnlint"] for block in re.findall(r"```yaml\n(nnlint:\n.*?)```", page, re.DOTALL))
    (tmp_path / "faulty.py").write_text(NET.format(name="build", last=", nn.Softmax(dim=1)"))
    (tmp_path / "pyproject.toml").write_text('[tool.nnlint]\ntargets = ["faulty.py:build"]\nselect = ["LOS001"]\n')
    install, command = [line for line in job["script"] if line.startswith("pip")], job["script"][-1]
    assert len(install) == len(job["script"]) - 1
    script = command.replace("nnlint check", f"{sys.executable} -m nnlint check")
    paths = os.pathsep.join([str(repository), str(repository / "rules")])
    done = subprocess.run(
        [str(BASH), "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    reports = job["artifacts"]["reports"]
    (issue,) = json.loads((tmp_path / reports["codequality"]).read_text())
    assert issue["check_name"].startswith("LOS001")
    assert {"description", "fingerprint", "location", "severity"} <= set(issue)
    assert "LOS001" in (tmp_path / reports["junit"]).read_text()
    assert (tmp_path / job["cache"]["paths"][0]).is_dir()
