"""What makes daily use short: `config`, `init`, filters of `rules`, `explain` by word and by family, `--statistics`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from pydantic import ValidationError

from nnlint.cli import main
from nnlint.config import FileSettings, _normalized, load
from nnlint.config_keys import TABLES
from nnlint.starter import offer_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


# ---------------------------------------------------------------- config


def test_every_setting_is_shown_with_its_origin(stub: Path) -> None:
    (stub / "pyproject.toml").write_text('[tool.nnlint]\nfail-on = "warning"\n')
    shown = json.loads(run("config", "--format", "json").stdout)
    rows = {row["key"]: row for row in shown["settings"]}
    assert rows["fail-on"]["value"] == "warning"
    assert rows["fail-on"]["from"].endswith("pyproject.toml")
    assert rows["seed"]["from"] == "default"
    assert {key.replace("-", "_") for key in rows} == set(FileSettings.model_fields)


def test_config_without_a_file(stub: Path) -> None:
    assert run("config").stdout.startswith("configuration: none found; all defaults\n")


def test_config_refuses_what_check_refuses(stub: Path) -> None:
    (stub / "pyproject.toml").write_text("[tool.nnlint]\nfail_onn = 3\n")
    done = run("config")
    assert done.exit_code == 2
    assert "unknown key fail-onn" in done.stderr


TWO = """
[tool.nnlint]
targets = ["clean", {target = "fine", fail-on = "never", ignore = ["SIG"], timeout = "5s"}]
ignore = ["GRD"]
[tool.nnlint.rules.LOS018]
share = 0.3
"""


def test_the_options_of_one_target_are_shown_with_their_origin(stub: Path) -> None:
    (stub / "pyproject.toml").write_text(TWO)
    rows = {row["key"]: row for row in json.loads(run("config", "--format", "json").stdout)["settings"]}
    assert rows["targets"]["value"] == ["clean", "fine"]
    assert (rows["targets.1.fail-on"]["value"], rows["targets.1.timeout"]["value"]) == (None, 5)
    assert rows["targets.1.timeout"]["from"].endswith("pyproject.toml, fine")
    shown = json.loads(run("config", "fine", "--format", "json").stdout)
    rows = {row["key"]: row for row in shown["settings"]}
    assert shown["target"] == "fine"
    assert rows["ignore"]["value"] == ["GRD", "SIG"]
    assert rows["ignore"]["from"].endswith("pyproject.toml and fine")
    assert rows["rules"]["from"].endswith("pyproject.toml")
    assert rows["timeout"]["from"].endswith("pyproject.toml, fine")
    assert rows["deep"]["from"] == "default"
    assert "target: clean" in run("config", "clean").stdout


def test_every_key_says_what_it_means_and_is_in_the_documentation(repository: Path) -> None:
    page = (repository / "docs/reference/configuration-keys.md").read_text()
    for heading, model in TABLES:
        table = page.split(f"## {heading}\n")[1].split("\n## ")[0]
        for name, field in model.model_fields.items():
            assert field.description, f"{heading} {name}"
            assert f"| `{name.replace('_', '-')}` |" in table


def test_the_schema_knows_every_key() -> None:
    schema = json.loads(run("config", "--schema").stdout)
    assert {key.replace("-", "_") for key in schema["properties"]} == set(FileSettings.model_fields)


@pytest.mark.parametrize(
    ("table", "valid"),
    [
        ({"fail-on": "never", "batch_size": 3, "timeout": "5m", "budget": 3.5, "memory-limit": "4G"}, True),
        ({"targets": ["m:f", {"target": "m:g", "deep": True, "fail-on": "info", "rules": {"LOS018": {"share": 1}}}]}, True),
        ({"overrides": [{"module": ["a.*"], "levels": {"LOS": "info"}, "reason": "r"}], "expect": {"SIG001": "r"}}, True),
        ({"fail-on": "grave"}, False),
        ({"targts": []}, False),
        ({"targets": [{"target": "m:g", "deap": True}]}, False),
        ({"targets": [{"deep": True}]}, False),
        ({"overrides": [{"ignore": ["A"]}]}, False),
    ],
)
def test_editors_judge_the_configuration_by_the_schema_as_nnlint_does(stub: Path, table: dict, valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(run("config", "--schema").stdout))
    assert validator.is_valid(table) is valid
    assert valid is bool(_accepted(table))


def _accepted(table: dict) -> FileSettings | None:
    try:
        return FileSettings.model_validate(_normalized(Path("pyproject.toml"), table))
    except ValidationError:
        return None


# ---------------------------------------------------------------- rules and explain


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (["--family", "los"], ["LOS001", "LOS018"]),
        (["--level", "warning"], ["LOS018", "SIG001"]),
        (["--search", "cross entropy"], ["LOS001"]),
        (["--family", "LOS", "--level", "error"], ["LOS001"]),
    ],
)
def test_rules_can_be_filtered(stub: Path, arguments: list[str], codes: list[str]) -> None:
    assert [rule["code"] for rule in json.loads(run("rules", "--format", "json", *arguments).stdout)] == codes


def test_no_rule_matches(stub: Path) -> None:
    done = run("rules", "--search", "quantum")
    assert done.exit_code == 2
    assert "no rule is as asked for" in done.stderr
    assert "--family XYZ: there are LOS, SIG" in run("rules", "--family", "XYZ").stderr


def test_explain_by_word(stub: Path) -> None:
    assert run("explain", "softmax").stdout.startswith("LOS001 softmax-before-cross-entropy\n")
    assert run("explain", "dead", "units").stdout.startswith("SIG001 dead-units\n")


def test_explain_lists_a_family_and_what_words_of_pages_find(stub: Path) -> None:
    for words in (["LOS"], ["los"]):
        listed = run("explain", *words).stdout.splitlines()
        assert [line.split()[0] for line in listed] == ["code", "LOS001", "LOS018"]
    assert len(run("explain", "hurts").stdout.splitlines()) == 4


def test_explain_of_nothing_known(stub: Path) -> None:
    done = run("explain", "LOS01")
    assert done.exit_code == 2
    assert "did you mean LOS018, LOS001?" in done.stderr
    assert run("explain", "sofmax").stderr == "Error: no rule speaks of 'sofmax'; did you mean softmax?\n"


def test_statistics_count_by_rule(stub: Path) -> None:
    done = run("check", "fine", "clean", "other", "--statistics")
    assert done.exit_code == 1
    assert done.stdout == "    2  error    LOS001  softmax-before-cross-entropy\n2 findings in 3 targets\n"


# ---------------------------------------------------------------- init

BUILDER = "def build_model(depth=3):\n    return depth\n\nclass Net(nn.Module):\n    pass\n"
MODEL = (
    "class Net(torch.nn.Module):\n    pass\n\ndef build(depth):\n    return depth\n\ndef build_nothing():\n    pass\n"
)
SCRIPT = "for x in data:\n    loss = model(x)\n    loss.backward()\n"
TRAINER = "trainer = Trainer(max_epochs=3)\ntrainer.fit(model)\n"


@pytest.mark.parametrize(
    ("text", "targets", "trains"),
    [
        (BUILDER, ("net.py:build_model",), False),
        (MODEL, ("net.py:Net",), False),
        (SCRIPT, (), True),
        (TRAINER, (), True),
        ("clf.fit(x, y)\n", (), False),
        ("x = 1\n", (), False),
    ],
)
def test_what_a_file_offers(stub: Path, text: str, targets: tuple[str, ...], trains: bool) -> None:
    Path("net.py").write_text(text)
    offer = offer_of(Path("net.py"))
    assert (offer.targets, offer.trains) == (targets, trains)


def test_init_writes_a_configuration_that_check_reads(stub: Path) -> None:
    Path("net.py").write_text(BUILDER)
    Path("pyproject.toml").write_text('[project]\nname = "x"\n')
    done = run("init")
    assert done.exit_code == 0
    assert "Next: nnlint check" in done.stdout
    assert load().targets == ("net.py:build_model",)
    assert tomllib.loads(Path("pyproject.toml").read_text())["project"] == {"name": "x"}
    again = run("init")
    assert again.exit_code == 2
    assert "already has a [tool.nnlint]" in again.stderr


def test_init_tells_how_to_check_a_script(stub: Path) -> None:
    Path("train.py").write_text(SCRIPT)
    done = run("init", "train.py")
    assert done.exit_code == 0
    assert "nnlint run train.py" in done.stdout
    assert not Path("pyproject.toml").exists()


def test_init_passes_over_tests_and_shows_without_writing(stub: Path) -> None:
    Path("tests").mkdir()
    Path("tests/helper.py").write_text(BUILDER)
    Path("net.py").write_text(MODEL)
    done = run("init", "--dry-run")
    assert '"net.py:Net"' in done.stdout
    assert "tests" not in done.stdout
    assert not Path("pyproject.toml").exists()


@pytest.mark.parametrize(("name", "text"), [("empty.py", ""), ("broken.py", "def ("), ("missing.py", None)])
def test_init_with_nothing_to_offer(stub: Path, name: str, text: str | None) -> None:
    if text is not None:
        Path(name).write_text(text)
    assert run("init", name).exit_code == 2
