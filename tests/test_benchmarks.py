"""The benchmarks run, and what could not be checked is in their result."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import models, mutation_runs, mutation_subjects, zoo, zoo_setup
from benchmarks.as_written import AsWritten
from benchmarks.mutation_page import false_alarms, is_diagnosed
from benchmarks.mutation_page import page as mutation_page
from benchmarks.sweep import in_turns
from benchmarks.sweep_page import page
from nnlint import registry
from nnlint.config import CheckSettings
from nnlint.engine import check
from tests.libraries import library

ZOO = """
import time
import torch
from torch import nn

def healthy():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10)), (torch.randn(4, 20),), {}

def broken():
    raise RuntimeError("no such weights")

def slow():
    time.sleep(600)

def zoo(libs, timm_per_family):
    yield "nn/healthy", healthy
    yield "nn/broken", broken
    yield "nn/slow", slow
"""


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11_689_512), ("mlp", 5_829)])
def test_models_have_the_size_they_say(name: str, parameters: int) -> None:
    setup = getattr(models, name)()
    assert sum(parameter.numel() for parameter in setup["model"].parameters()) == parameters
    assert setup["loss"](setup["model"](setup["inputs"]), setup["targets"]).isfinite()


def test_sweep_reports_what_it_could_not_check(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text(ZOO)
    out, written = tmp_path / "rows.jsonl", tmp_path / "page.md"
    options = ["--zoo", tmp_path, "--lib", "nn", "--out", out, "--page", written, "--time-limit", "15"]
    command = [sys.executable, repository / "benchmarks" / "sweep.py", *options]
    shown = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
    assert shown.returncode == 0, shown.stderr
    rows = {row["model"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert {name: row["status"] for name, row in rows.items()} == {
        "nn/healthy": "ok",
        "nn/broken": "crashed",
        "nn/slow": "timeout",
    }
    assert "no such weights" in rows["nn/broken"]["error"]
    text = written.read_text()
    assert "on 1 healthy public architectures" in text
    assert "- nn/broken: crashed: RuntimeError: no such weights" in text
    assert "- nn/slow: timeout" in text


CHOSEN = """
import torch
from torch import nn

class Chosen(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(64, 64), nn.Linear(64, 10)
        for layer in (self.first, self.head):
            nn.init.normal_(layer.weight, std=4.0)

    def forward(self, x):
        return self.head(self.first(x).relu())

Chosen.__module__ = "timm.models.pretended"

def build():
    return Chosen(), (torch.randn(4, 64),), {}

def zoo(libs, timm_per_family):
    yield "timm/chosen", build
"""


def test_both_figures_come_from_one_check(repository: Path, tmp_path: Path) -> None:
    """What a library left unused, for its user an info, is louder for who writes it; and it is what a strict check says."""
    (tmp_path / "zoo.py").write_text(CHOSEN.replace("self.first, self.head =", "self.spare, self.first, self.head = nn.Linear(9, 9),"))
    out = tmp_path / "rows.jsonl"
    options = ["--zoo", tmp_path, "--lib", "nn", "--out", out, "--no-page"]
    command = [sys.executable, repository / "benchmarks" / "sweep.py", *options]
    shown = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
    assert shown.returncode == 0, shown.stderr
    (row,) = map(json.loads, out.read_text().splitlines())
    levels, strict = ({item["code"]: item["level"] for item in row[key]} for key in ("findings", "as_written"))
    assert (levels["ARC001"], strict["ARC001"]) == ("info", "warning")


@pytest.mark.parametrize("libraries", [(), ("timm",)])
def test_rules_judge_twice_what_one_check_measures(libraries: tuple[str, ...]) -> None:
    fields = {"model": nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), "inputs": torch.randn(4, 64)}
    fields["model"].spare = nn.Linear(9, 9)  # type: ignore[assignment]
    as_written = AsWritten(registry.load())
    lenient = check(fields, CheckSettings(libraries=libraries), registry=as_written.registry)
    strict = check(fields, CheckSettings(libraries=()))
    keys = ("code", "level", "module", "message", "confidence")
    assert as_written.findings == [{key: getattr(found, key) for key in keys} for found in strict.findings]
    assert [found.code for found in lenient.findings] == [found["code"] for found in as_written.findings]


def test_the_libraries_take_turns() -> None:
    def build() -> None:
        pass

    names = [f"hf/{number}" for number in range(6)] + ["nn/0", "nn/1", "timm/0"]
    ordered = [name for name, _ in in_turns([(name, build) for name in names])]
    assert sorted(ordered) == sorted(names)
    assert {name.partition("/")[0] for name in ordered[:5]} == {"hf", "nn", "timm"}


def test_the_page_publishes_both_figures() -> None:
    found = {"code": "ARC001", "level": "info", "module": "spare", "message": "unused", "confidence": "high"}
    row = {"model": "timm/one", "status": "ok", "commit": "abc1234", "findings": [found], "skipped": {}}
    text = page([row | {"as_written": [{**found, "level": "warning"}]}], {"ARC001": "unused-layer"}, {})
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| as ")]
    figures = {first: rest for first, *rest in rows}
    assert figures["as a user of the libraries"] == ["1", "1", "0", "0", "0.000"]
    assert figures["as if you had written the models"] == ["1", "0", "0", "1", "1.000"]
    assert "(commit abc1234)" in text
    assert "- ARC001 warning, timm/one, `spare`: unused." in text.partition("## Louder")[2]
    assert "Louder" not in page([row], {"ARC001": "unused-layer"}, {})
    assert "not reached" not in text
    assert "3 models were not reached" in page([row], {"ARC001": "unused-layer"}, {}, left=3)


def test_the_zoo_is_in_the_repository() -> None:
    """Names alone: what the libraries offer is listed in files."""
    names = [name for name, _ in zoo.zoo(("nn",))]
    assert len(names) == 18
    model, args, kwargs = dict(zoo.zoo(("nn",)))["nn/lenet"]()
    assert model(*args, **kwargs).shape == (2, 10)


def test_what_is_published_is_defended(repository: Path) -> None:
    text = (repository / "docs" / "evidence" / "false-alarms.md").read_text()
    defended = json.loads((repository / "benchmarks" / "defended.json").read_text())
    loud = re.findall(r"^- (\w+) (error|warning), ([\w/-]+),", text, flags=re.MULTILINE)
    assert "Not defended." not in text
    assert {f"{code} {model}" for code, _, model in loud} <= set(defended)
    as_user = text.partition("## Louder")[0]
    assert not re.findall(r"^- \w+ error,", as_user, flags=re.MULTILINE)


def test_page_counts_models_not_findings() -> None:
    found = {"code": "LOS001", "level": "error", "module": "head", "message": "m", "confidence": "high"}
    noted = {**found, "code": "NRM004", "level": "info"}
    rows = [
        {"model": "timm/a", "status": "ok", "findings": [found, found, noted], "skipped": {}},
        {"model": "hf/b", "status": "ok", "findings": [noted], "skipped": {"LOS001": "no loss"}},
    ]
    text = page(rows, {"LOS001": "softmax", "NRM004": "bias"}, {"static": True})
    assert "static profile, on 2 healthy" in text
    assert "| as a user of the libraries | 2 | 1 | 2 | 0 | 0.000 |" in re.sub(r" +", " ", text)
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if line.startswith("| ")}
    assert [cell.strip() for cell in cells["LOS001"]] == ["softmax", "1", "", "", "1"]
    assert [cell.strip() for cell in cells["NRM004"]] == ["bias", "", "", "2", "2"]
    assert text.count("LOS001 error, timm/a, `head`: m") == 2


def test_mutants_of_one_idiom_are_diagnosed() -> None:
    from benchmarks.mutation_operators import OPERATORS

    library("transformers")  # one of the files of idioms is written with it
    subject = next(subject for subject in mutation_subjects.idioms() if subject.name == "idioms/module")
    wanted = ("drop an activation between linear layers", "append softmax before cross-entropy", "learning rate 0")
    operators = [operator for name in wanted for operator in OPERATORS if operator.name == name]
    rows = [mutation_runs.row_of(subject, operator) for operator in (None, *operators)]
    rules = {rule.code: (rule.name, rule.level.value) for rule in registry.load().rules}
    assert [(row["operator"], row["status"]) for row in rows if row["operator"]] == [(name, "ok") for name in wanted]
    assert [row["operator"] for row in rows if row["operator"] and not is_diagnosed(row, rules)] == []
    assert false_alarms(rows) == {}
    text = mutation_page(rows, rules, 3, 2)
    assert "3 operators each put one fault into 1 healthy models (1 of the idioms)" in text
    assert "until 3 idioms and 2 models" in text
    assert "- Fewer than 5 mutants, so that the shares above say little: ARC005 (1), LOS001 (1), OPT005 (1)." in text
    assert (
        "| LOS001 | softmax-before-cross-entropy | error | append softmax before cross-entropy | 1 | 100% | 100% | 0 |"
        in text
    )


def test_an_operator_takes_the_first_models_that_offer_it_a_place() -> None:
    from benchmarks.mutation_operators import OPERATORS

    def build(kind: type[nn.Module]) -> dict[str, Any]:
        model = nn.Sequential(nn.Linear(8, 16), kind(), nn.Linear(16, 5))
        return {
            "model": model,
            "inputs": torch.randn(32, 8),
            "targets": torch.arange(32) % 5,
            "loss": nn.CrossEntropyLoss(),
        }

    subjects = [
        mutation_subjects.Subject(f"zoo/{kind.__name__}", partial(build, kind))
        for kind in (nn.ReLU, nn.Identity, nn.GELU, nn.Tanh)
    ]
    operator = next(operator for operator in OPERATORS if operator.codes == ("ARC005",))
    rows = _run(operator, subjects, 2)
    again = _run(operator, reversed(subjects), 2)
    made = [row for row in rows if row["status"] != mutation_runs.NOWHERE]
    assert len(made) == 2
    assert {row["subject"] for row in rows} == {row["subject"] for row in again}
    every = {row["subject"]: row["status"] for row in _run(operator, subjects, 4)}
    assert every == {"zoo/ReLU": "ok", "zoo/GELU": "ok", "zoo/Tanh": "ok", "zoo/Identity": mutation_runs.NOWHERE}
    resumed = _run(operator, subjects, 4, done=made)
    assert sorted([row["subject"] for row in (*made, *resumed)]) == sorted(every)
    assert _run(operator, subjects, 2, done=made) == []
    text = mutation_page(rows, {rule.code: (rule.name, rule.level.value) for rule in registry.load().rules})
    assert "(2 of zoo)" in text


def _run(operator: Any, subjects: Any, wanted: int, *, done: Any = (), **how: Any) -> list[dict[str, Any]]:
    lane = mutation_runs.lane(operator, subjects, wanted, done)
    return list(mutation_runs.rows_of([lane], **{"workers": 2, "limit_s": 100.0, **how}))


def test_a_mutant_that_hangs_or_dies_costs_no_other_its_row() -> None:
    from benchmarks.mutation_operators import Operator

    def apply(fields: dict[str, Any]) -> None:
        if "hangs" in fields:
            time.sleep(600)
        if "dies" in fields:
            os._exit(3)

    subjects = [mutation_subjects.Subject(name, partial(dict, {name: 1})) for name in ("hangs", "dies", "fits", "is fine")]
    rows = {row["subject"]: row for row in _run(Operator("one", ("LOS001",), apply), subjects, 4, workers=1, limit_s=2.0)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "hangs": "timeout",
        "dies": "killed",
        "fits": mutation_runs.NOWHERE,
        "is fine": mutation_runs.NOWHERE,
    }
    assert rows["dies"]["error"] == "the process ended with 3"
    assert _run(Operator("one", ("LOS001",), apply), subjects, 4, seconds=0.0) == []


def test_mutation_page_says_where_a_fault_was_missed() -> None:
    rules = {"LOS001": ("softmax-before-cross-entropy", "error"), "OPT003": ("learning-rate-too-high", "warning")}
    at_head = {"code": "LOS001", "level": "error", "module": "head", "modules": [], "message": "m"}
    noted = {"code": "OPT003", "level": "info", "module": "", "modules": [], "message": "m"}
    row = {"subject": "idioms/a", "status": "ok", "skipped": {}}
    rows = [
        {**row, "operator": "", "codes": [], "findings": [at_head]},
        {**row, "operator": "softmax", "codes": ["LOS001"], "places": ["head.0"], "findings": [at_head]},
        {**row, "operator": "softmax", "codes": ["LOS001"], "places": ["body"], "findings": [at_head]},
        {**row, "operator": "fast", "codes": ["OPT003"], "places": None, "findings": [noted]},
    ]
    assert [is_diagnosed(one, rules) for one in rows[1:]] == [True, False, False]
    text = mutation_page(rows, rules)
    assert "| error | 2 | 100.0% | 50.0% | 95% |" in text
    assert "| warning | 1 | 0.0% | 0.0% | 85% |" in text
    assert "| LOS001 | softmax | idioms/a, at `body` | LOS001 as error at `head` |" in text
    assert "- LOS001: idioms/a" in text


def test_every_operator_names_rules_that_exist() -> None:
    from benchmarks.mutation_operators import OPERATORS

    known = {rule.code for rule in registry.load().rules}
    assert {code for operator in OPERATORS for code in operator.codes} <= known
    assert len({operator.name for operator in OPERATORS}) == len(OPERATORS)


@pytest.mark.parametrize(("limit", "rows"), [(1 << 27, zoo_setup.BATCH), (20, zoo_setup.FEW)])
def test_a_model_of_the_zoo_that_makes_many_values_gets_a_small_batch(monkeypatch, limit: int, rows: int) -> None:
    monkeypatch.setattr(zoo_setup, "WIDE", limit)

    def build() -> Any:
        return nn.Sequential(nn.Linear(4, 20), nn.ReLU()), (torch.randn(2, 4),), {}

    assert len(zoo_setup.training_setup("nn/wide", build).fields["inputs"][0]) == rows
