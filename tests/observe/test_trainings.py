"""Scripts that train more than once: each training is watched, on the way from one to the next epochs are short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nnlint.cli import main
from tests.observe import scripts

STUDENT = """
print("the teacher is done")
model.eval().requires_grad_(False)
student = nn.Linear(4, 3)
optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
for epoch in range(3):
    for xb, yb in loader:
        with torch.no_grad():
            soft = (model(xb) / 2).softmax(1)
        loss = F.kl_div({answer}, soft, reduction="batchmean") + F.cross_entropy(student(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("student", epoch)
print("never printed")
"""
RIGHT = scripts.PLAIN + STUDENT.format(answer="(student(xb) / 2).log_softmax(1)")
FUNCTION = f"""{scripts.HEAD}
del opt
def fit(parameters, epochs):
    opt = torch.optim.SGD(parameters, lr=0.01)
    for epoch in range(epochs):
        for xb, yb in loader:
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()

def main():
    fit(model[3].parameters(), 2)
    fit({{second}}, 2)
    print("never printed")

model[0].requires_grad_(False)
if __name__ == "__main__":
    main()
"""
ATTACK = """
print("attack")
xb = x.clone().requires_grad_()
F.cross_entropy(model(xb), y).backward()
"""


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str):
    """The reports by target, and what the script printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(source)
    done = CliRunner().invoke(main, ["run", "--output", "out.json", "train.py"])
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    codes = {one["target"]: [found["code"] for found in one["findings"] if found["level"] != "info"] for one in results}
    return codes, done.stdout


def test_a_student_is_watched_after_its_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, printed = run(tmp_path, monkeypatch, RIGHT)
    assert codes == {"train.py": [], "train.py (training 2)": []}
    assert printed.splitlines() == ["the teacher is done", "student 0"]


def test_a_fault_of_the_later_training_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, _ = run(tmp_path, monkeypatch, RIGHT.replace("log_softmax(1)", "softmax(1)"))
    assert codes == {"train.py": [], "train.py (training 2)": ["LOS022"]}


def test_a_function_that_trains_twice_is_watched_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, _ = run(tmp_path, monkeypatch, FUNCTION.replace("{second}", "[torch.zeros(3, requires_grad=True)]"))
    assert codes["train.py"] == []
    assert codes["train.py (training 2)"][0] in ("STP005", "STP006", "OPT002")
    codes, _ = run(tmp_path, monkeypatch, FUNCTION.replace("{second}", "model[3].parameters()"))
    assert codes == {"train.py": [], "train.py (training 2)": []}


def test_the_same_fault_in_both_is_one_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FUNCTION.replace("{second}", "model[3].parameters()").replace("            opt.zero_grad()\n", "")
    codes, _ = run(tmp_path, monkeypatch, source)
    assert codes == {"train.py": ["STP001"], "train.py (training 2)": []}


def test_without_a_later_training_the_script_is_stopped_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in (scripts.PLAIN + ATTACK, scripts.PLAIN + "def later():\n    opt.step(loss.backward())\nprint(1)\n"):
        codes, printed = run(tmp_path, monkeypatch, source)
        assert codes == {"train.py": []}
        assert printed == ""


FITTER = """
import torch
import torch.nn.functional as F
class Fitter:
    def __init__(self, network, rate=0.1):
        self.network, self.rate = network, rate
    def fit(self, batches):
        opt = torch.optim.SGD(self.network.parameters(), lr=self.rate)
        for xb, yb in batches:
            F.cross_entropy(self.network(xb), yb).backward()
            opt.step()
class Forest:
    def fit(self, xs, ys):
        self.seen = len(xs)
"""


def test_a_later_training_is_known_by_the_model_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fitting.py").write_text(FITTER)
    monkeypatch.syspath_prepend(tmp_path)
    head = f"from fitting import Fitter, Forest\n{scripts.PLAIN}"
    for later in (
        "Fitter(nn.Linear(4, 3)).fit(loader)",
        "runner = Fitter(network=model)\nrunner.fit(loader)",
        "def second(net):\n    engine = Fitter(net)\n    engine.fit(loader)\nfitter = Fitter(nn.Linear(4, 3), 0.2)\nfitter.fit(loader)",
    ):
        codes, _ = run(tmp_path, monkeypatch, f"{head}{later}\n")
        assert codes == {"train.py": [], "train.py (training 2)": ["STP001"]}
    codes, printed = run(tmp_path, monkeypatch, f"{head}Forest().fit(x, y)\nmodel.train()\nprint(1)\n")
    assert codes == {"train.py": []}
    assert printed == ""


def test_what_is_not_watched_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnlint.observation.passing._MOST_CALLS", 5)
    between = "\nfor i in range(20): model(x)\n"
    run(tmp_path, monkeypatch, scripts.PLAIN + between + STUDENT.format(answer="(student(xb) / 2).log_softmax(1)"))
    said = json.loads((tmp_path / "out.json").read_text())["results"][0]["assumptions"]
    assert "a later training of the script did not begin within 5 calls of models: it was not watched" in said
    monkeypatch.undo()
    run(tmp_path, monkeypatch, scripts.PLAIN + "\nopen('missing')\n" + STUDENT)
    said = json.loads((tmp_path / "out.json").read_text())["results"][0]["assumptions"]
    assert any("the script raised FileNotFoundError" in text and "was not watched" in text for text in said)
