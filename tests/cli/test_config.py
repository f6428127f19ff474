"""pyproject.toml and the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnlint.config import CheckSettings, ConfigError, load
from nnlint.finding import Level
from nnlint.units import seconds


def written(folder: Path, text: str, name: str = "pyproject.toml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_without_a_file(tmp_path):
    config = load(start=tmp_path)
    assert config.file is None
    assert config.settings({}) == CheckSettings()


def test_every_key_in_kebab_and_snake_case(tmp_path):
    file = written(
        tmp_path,
        """
[tool.nnlint]
targets = ["m:f"]
batch-size = 8
extend_select = ["LOS"]
fail-on = "warning"
budget = "2m"
timeout = "1h"
expect = {"SIG001 encoder.*" = "known"}
overrides = [{target = "m:*", module = "head", ignore = ["LOS001"], reason = "distilled"}]
[tool.nnlint.rules.LOS018]
min-samples = 4
level = "info"
""",
    )
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    config = load(start=below)
    settings = config.settings({"seed": 3})
    assert config.file == file
    assert config.targets == ("m:f",)
    assert (settings.batch_size, settings.seed, settings.fail_on, settings.budget) == (8, 3, Level.WARNING, 120)
    assert config.values.timeout == 3600
    assert settings.rules == {"LOS018": {"min_samples": 4, "level": "info"}}
    assert [(entry.target, entry.module, entry.ignore, entry.reason) for entry in config.suppressions] == [
        ("m:*", "head", ("LOS001",), "distilled"),
        ("*", "encoder.*", ("SIG001",), "known"),
    ]


def test_settings_survive_the_way_to_the_worker():
    settings = CheckSettings(select=("LOS",), fail_on=None, budget=1.5, rules={"LOS018": {"share": 0.1}})
    assert CheckSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize = 3", "unknown key batchsize; did you mean batch-size?"),
        (
            'overrides = [{ignore = ["A"], reason = "r", tagret = "x"}]',
            "unknown key overrides.0.tagret; did you mean target?",
        ),
        ('overrides = [{ignore = ["A"]}]', "overrides.0.reason is missing"),
        ('overrides = [{ignore = ["A"], reason = " "}]', "overrides.0: reason is empty: say why"),
        ('overrides = [{module = "a", reason = "r"}]', "overrides.0: neither ignore nor levels is given"),
        ('overrides = [{modules = ["a"], ignore = ["A"], reason = "r"}]', "did you mean module?"),
        ('overrides = [{levels = {A = "grave"}, reason = "r"}]', "overrides.0.levels.A: input should be"),
        ('targets = [{target = "m:f", deap = true}]', "unknown key targets.0.deap; did you mean deep?"),
        ('targets = [{target = "m:f", seed = 3}]', "unknown key targets.0.seed"),
        ("targets = [{deep = true}]", "targets.0.target is missing"),
        ('targets = ["m:f", {target = "m:f", deep = true}]', "targets: m:f is listed twice"),
        ('targets = [{target = "m:f", batch_size = 1, batch-size = 2}]', "batch_size is given twice"),
        ('targets = "m:f"', "targets: expects a list in brackets, got 'm:f'"),
        ('fail-on = "bad"', "fail-on: 'bad' is not one of error, warning, info, never"),
        ('budget = "soon"', "budget: 'soon' is not a duration"),
        ("batch-size = 0", "batch-size: input should be greater than or equal to 1"),
        ("batch-size = 1\nbatch_size = 2", "batch_size is given twice"),
        ('expect = {"SIG001 a b" = "r"}', "expect: 'SIG001 a b' is not"),
        ('expect = {SIG001 = " "}', "has no reason"),
        ("static = maybe", "not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_with_the_reason(tmp_path, text, message):
    file = written(tmp_path, f"[tool.nnlint]\n{text}\n")
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert message in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_nearer_file_without_the_table_does_not_hide_the_settings(tmp_path):
    written(tmp_path, "[tool.nnlint]\nseed = 5\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    written(inner, "[tool.ruff]\n")
    assert load(start=inner).values.seed == 5


def test_an_own_file_may_hold_the_keys_at_the_top(tmp_path):
    assert load(written(tmp_path, "seed = 5\n", "nnlint.toml")).values.seed == 5


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(("text", "value"), [("60s", 60), ("2m", 120), ("1.5h", 5400), ("500ms", 0.5), ("7", 7)])
def test_durations(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "0s", "-1s", "m", "1d"])
def test_bad_durations(text):
    with pytest.raises(ValueError, match="is not"):
        seconds(text)


def test_inputs_of_the_file_are_only_a_default(tmp_path):
    config = load(written(tmp_path, '[tool.nnlint]\ninput = ["3x8x8"]\n'))
    assert (config.settings({}).input, config.settings({}).default_input) == ((), ("3x8x8",))
    typed = config.settings({"input": ("1x4",)})
    assert (typed.input, typed.default_input) == (("1x4",), ("3x8x8",))


@pytest.mark.parametrize("key", ["default-input", "directory"])
def test_what_the_command_line_fills_in_is_no_key(tmp_path, key):
    with pytest.raises(ConfigError, match=f"unknown key {key}"):
        load(written(tmp_path, f'[tool.nnlint]\n{key} = "x"\n'))


def test_paths_of_the_file_start_from_its_folder(tmp_path, monkeypatch):
    file = written(tmp_path, '[tool.nnlint]\nweights = "net.pt"\n')
    elsewhere = load(file)
    assert elsewhere.folder == tmp_path
    assert elsewhere.settings({}).weights == str(tmp_path / "net.pt")
    monkeypatch.chdir(tmp_path)
    assert load().folder is None
    assert load().settings({}).weights == "net.pt"


OWN = """
[tool.nnlint]
ignore = ["ARC"]
extend-select = ["TRN001"]
weights = "net.pt"
fail-on = "warning"
rules = {LOS018 = {min-samples = 4, share = 0.2}}
[[tool.nnlint.targets]]
target = "m:f"
[[tool.nnlint.targets]]
target = "nets/net.py:build(depth=3)"
deep = true
ignore = ["INI"]
weights = "own.pt"
fail-on = "never"
timeout = "2m"
rules = {LOS018 = {share = 0.5}, SIG001 = {level = "info"}}
"""


def test_a_target_has_options_of_its_own(tmp_path):
    config = load(written(tmp_path, OWN))
    assert config.targets == ("m:f", "nets/net.py:build(depth=3)")
    assert config.own("m:f") is None
    entry = config.own("nets/net.py:build(depth=3)")
    settings = config.settings({}, target=entry, added={"ignore": ("NRM",)})
    assert (settings.deep, settings.fail_on, settings.ignore) == (True, None, ("ARC", "INI", "NRM"))
    assert settings.extend_select == ("TRN001",)
    assert settings.weights == str(tmp_path / "own.pt")
    assert settings.rules == {"LOS018": {"min_samples": 4, "share": 0.5}, "SIG001": {"level": "info"}}
    assert entry.timeout == 120
    assert config.settings({"deep": False, "fail_on": "info"}, target=entry).fail_on is Level.INFO
    assert config.settings({}).rules == {"LOS018": {"min_samples": 4, "share": 0.2}}


def test_own_options_hold_for_the_same_file_wherever_it_is_named_from(tmp_path):
    config = load(written(tmp_path, OWN))
    below = tmp_path / "nets"
    assert config.own("net.py:build(depth=3)", below) is not None
    assert config.own("nets/net.py:build(depth=3)", below) is None
    assert config.own("net.py:build", below) is None


def test_own_inputs_of_a_target_replace_its_own(tmp_path):
    text = '[tool.nnlint]\ninput = ["3"]\ntargets = [{target = "m:f", input = ["1x4"]}]\n'
    config = load(written(tmp_path, text))
    settings = config.settings({}, target=config.own("m:f"))
    assert (settings.input, settings.default_input) == (("1x4",), ("3",))
