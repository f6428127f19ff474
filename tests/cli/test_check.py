"""`nnlint check` with the real worker and the stub engine."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from nnlint.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def configure(folder, text):
    (folder / "pyproject.toml").write_text(f"[tool.nnlint]\n{text}\n", encoding="utf-8")


TEXT = """\
fine   Net; settings ...
       assumed: nothing

error LOS001 softmax-before-cross-entropy                                                       head
  its output goes into cross_entropy
  fix   return the logits
  more  nnlint explain LOS001

1 error. 1 rule skipped; --show skipped lists why.
measured in 0.50 s, seed 0
"""


def test_text_on_the_console(stub):
    done = run("fine")
    first, rest = done.stdout.split("\n       assumed", 1)
    assert first.startswith("fine   Net; settings")
    assert rest == TEXT.split("\n       assumed", 1)[1]
    assert done.stderr == "nnlint: exit status 1: 1 finding of level error or above (--fail-on)\n"
    assert done.exit_code == 1


def test_json_on_the_console(stub):
    done = run("print", "--format", "json", "--seed", "3")
    report = json.loads(done.stdout)
    assert (report["schema_version"], report["seed"], report["summary"]) == (
        "1.0",
        3,
        {"errors": 1, "warnings": 0, "infos": 0},
    )
    assert report["results"][0]["findings"][0]["module"] == "head"


def test_non_finite_numbers_are_valid_json(stub):
    done = run("odd", "--format", "json")
    report = json.loads(done.stdout, parse_constant=pytest.fail)
    assert report["results"][0]["findings"][0]["evidence"] == {"value": "nan", "kind": "<class 'object'>"}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["clean"], 0),
        (["fine"], 1),
        (["fine", "--fail-on", "never"], 0),
        (["clean", "exit"], 2),
        (["exit", "--fail-on", "never"], 2),
        ([], 2),
        (["fine", "--format", "no"], 2),
        (["fine", "--budget", "soon"], 2),
        (["fine", "--config", "none.toml"], 2),
    ],
)
def test_exit_status(stub, arguments, status):
    done = run(*arguments)
    assert done.exit_code == status, done.output
    assert bool(done.stderr) == bool(status)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--select", "LOS01"], None),
        (["--select", "LOS002"], "unknown rule 'LOS002'; did you mean LOS"),
        (["--extend-select", "dead-unit"], "did you mean dead-units"),
        (["--ignore", "ALL"], "leaves no rule to run"),
    ],
)
def test_the_selection_is_judged_first(stub, arguments, message):
    done = run("clean", *arguments)
    assert done.exit_code == (2 if message else 0), done.output
    assert (message or "") in done.stderr
    assert bool(done.stdout) != bool(message)


def test_an_unknown_rule_in_ignore_is_a_warning(stub):
    done = run("clean", "--ignore", "ZZZ001,SIG001")
    assert done.exit_code == 0
    assert done.stderr == "nnlint: warning: ignore: unknown rule 'ZZZ001'\n"


def test_an_unknown_rule_in_other_settings_is_announced_with_their_key(stub):
    configure(stub, 'expect = { "ZZZ002 head" = "known" }\n[[tool.nnlint.overrides]]\nignore = ["ZZZ003"]\nreason = "known"')
    said = [line for line in run("clean").stderr.splitlines() if "unknown rule" in line]
    assert said == ["nnlint: warning: overrides: unknown rule 'ZZZ003'", "nnlint: warning: expect: unknown rule 'ZZZ002'"]


@pytest.mark.parametrize(("text", "arguments", "kept"), [
    ("deep = true", ["--static"], (True, False)),
    ("static = true", ["--deep"], (False, True)),
    ("", ["--static", "--deep"], None),
    ("static = true\ndeep = true", [], None),
])
def test_static_and_deep_exclude_each_other_and_the_command_line_wins(stub, text, arguments, kept):
    configure(stub, text)
    done = run("clean", "--format", "json", *arguments)
    if kept is None:
        assert (done.exit_code, done.stdout) == (2, "")
        assert "static and deep exclude each other" in done.stderr
    else:
        settings = json.loads(json.loads(done.stdout)["results"][0]["subject"]["settings"])
        assert (settings["static"], settings["deep"]) == kept


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.nnlint.rules.LOS018]\nshaer = 1", "shaer"),
        ('[tool.nnlint.rules.LOS018]\nshare = "x"', "share"),
        ("[tool.nnlint.rules.LOS001]\nshare = 1", "has no options"),
        ("[tool.nnlint.rules.LOS999]\nshare = 1", "unknown rule 'LOS999'"),
        ('[tool.nnlint.rules.LOS018]\nlevel = "grave"', "level 'grave' is not one of"),
        ("sead = 1", "unknown key sead; did you mean seed?"),
    ],
)
def test_a_bad_configuration_is_refused(stub, text, message):
    configure(stub, text)
    done = run("clean")
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


def test_the_command_line_wins_and_ignores_add_up(stub):
    configure(stub, 'targets = ["clean"]\nseed = 4\nbatch-size = 2\nignore = ["SIG"]\nselect = ["LOS"]')
    done = run("--seed", "5", "--ignore", "LOS018", "--format", "json", "--budget", "2m", "--no-static")
    (result,) = json.loads(done.stdout)["results"]
    settings = json.loads(result["subject"]["settings"])
    assert result["target"] == "clean"
    assert (settings["seed"], settings["batch_size"], settings["budget"]) == (5, 2, 120)
    assert (settings["select"], settings["ignore"], settings["static"]) == (["LOS"], ["SIG", "LOS018"], False)


def test_files_and_the_console_together(stub):
    done = run("fine", "--output", "report.json", "--output", "sarif:scan.txt", "--output", "plain", "--color")
    assert "\x1b[" in done.stdout
    assert json.loads((stub / "report.json").read_text())["results"]
    assert json.loads((stub / "scan.txt").read_text())["version"] == "2.1.0"
    plain = (stub / "plain").read_text()
    assert plain.startswith("fine   Net")
    assert "\x1b[" not in plain


@pytest.mark.parametrize("output", ["no/such/folder/report.json", "json:", "."])
def test_an_output_that_cannot_be_written_is_refused(stub, output):
    done = run("clean", "--output", output)
    assert done.exit_code == 2
    assert "Error" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "colored"),
    [
        ([], {}, False),
        (["--color"], {}, True),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (["--color"], {"NO_COLOR": "1"}, True),
        (["--no-color"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_color(stub, monkeypatch, arguments, environment, colored):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[" in run("fine", *arguments).stdout) is colored


def test_overrides_and_unused_ones(stub):
    configure(
        stub,
        'overrides = [{module = "he*", ignore = ["LOS001"], reason = "distilled"}]\nexpect = {"SIG001 x" = "known"}',
    )
    done = run("fine")
    assert done.exit_code == 0
    assert "LOS001 softmax-before-cross-entropy at head is suppressed: distilled" in " ".join(done.stdout.split())
    assert done.stderr == "nnlint: warning: unused suppression: SIG001 at x (known)\n"


def test_in_process(stub):
    done = run("fine", "--in-process", "--format", "github")
    assert done.stdout == (
        "::error title=LOS001 softmax-before-cross-entropy::"
        "its output goes into cross_entropy [fine head]%0Afix: return the logits\n"
    )
    assert done.exit_code == 1


def test_a_lost_target_is_told_in_every_format(stub):
    for style in ("text", "json", "sarif", "github"):
        done = run("exit@loaded", "--format", style)
        assert done.exit_code == 2
        assert "exit status 3" in done.stdout
        assert "LOS001" in done.stdout
        assert "could not be checked completely" in done.stderr


def test_targets_with_options_of_their_own(stub):
    configure(
        stub,
        'targets = ["clean", {target = "fine", fail-on = "never", ignore = ["SIG"], deep = true}]\nignore = ["GRD"]\nseed = 3',
    )
    done = run("--format", "json")
    assert done.exit_code == 0, done.output
    clean, fine = (json.loads(result["subject"]["settings"]) for result in json.loads(done.stdout)["results"])
    assert (clean["deep"], clean["ignore"], clean["seed"]) == (False, ["GRD"], 3)
    assert (fine["deep"], fine["ignore"], fine["seed"]) == (True, ["GRD", "SIG"], 3)
    assert run("fine").exit_code == 0
    typed = run("fine", "--fail-on", "error", "--no-deep", "--format", "json")
    assert typed.exit_code == 1
    assert json.loads(json.loads(typed.stdout)["results"][0]["subject"]["settings"])["deep"] is False


def test_the_level_that_fails_is_each_targets_own(stub):
    configure(stub, 'fail-on = "never"\ntargets = ["fine", {target = "other", fail-on = "warning"}]')
    done = run()
    assert done.exit_code == 1
    assert done.stderr == "nnlint: exit status 1: 1 finding of level warning or above (--fail-on)\n"


def test_own_options_of_a_target_are_judged_first(stub):
    configure(stub, 'targets = ["clean", {target = "fine", rules = {LOS018 = {shaer = 1}}}]')
    assert "shaer" in run().stderr
    configure(stub, 'targets = ["clean", {target = "fine", select = ["LOS9"]}]')
    done = run()
    assert (done.exit_code, done.stdout) == (2, "")


def test_a_time_limit_of_one_target(stub):
    configure(stub, 'targets = ["clean", {target = "hang", timeout = "1s"}]')
    done = run("--format", "json")
    assert [result["status"] for result in json.loads(done.stdout)["results"]] == ["ok", "failed"]
    assert "longer than 1 s" in done.stdout


def test_an_override_changes_the_level_for_a_module(stub):
    configure(
        stub,
        'overrides = [{target = ["f*"], module = ["a.*", "he*"], levels = {LOS001 = "info"}, reason = "distilled"},'
        ' {module = "head", levels = {SIG001 = "error"}, reason = "nobody"}]',
    )
    done = run("fine", "other")
    assert done.exit_code == 1
    assert "LOS001 softmax-before-cross-entropy at head is reported as info: distilled" in " ".join(done.stdout.split())
    assert "unused suppression: SIG001 at head (nobody)" in done.stderr
    assert run("fine").exit_code == 0
