"""The timeline of the observed iterations: which events, of which optimizer, at which line, with which numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from nnlint.cli import main
from nnlint.testing import observe_source
from nnlint.timeline import timeline_of
from tests.observe import scripts

_EVALUATION = """        opt.step()
    sched.step()
    model.eval()
    with torch.no_grad():
        for xb, yb in val:
            model(xb)
    model.train()
"""
_MADE = """
val = DataLoader(TensorDataset(torch.randn(16, 4), y[:16]), batch_size=8)
sched = torch.optim.lr_scheduler.StepLR(opt, 1)
for epoch"""
EVALUATED = scripts.PLAIN.replace("        opt.step()\n", _EVALUATION).replace("\nfor epoch", _MADE, 1)


def timeline(source: str, **plan: Any) -> dict[str, Any]:
    return timeline_of(observe_source(source, **plan).events)


def of_kind(found: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [event for event in found["events"] if event["kind"] == kind]


def test_one_iteration_is_told_in_its_order_with_its_numbers() -> None:
    found = timeline(scripts.PLAIN)
    assert found["lanes"] == [{"optimizer": "opt", "type": "SGD"}]
    second = [event for event in found["events"] if event["iteration"] == 1]
    assert [event["kind"] for event in second] == ["read", "zero_grad", "forward", "backward", "step"]
    lines = [int(event["line"].rpartition(":")[2]) for event in second]
    assert lines == [15, 16, 17, 18, 19]
    read, _, forward, backward, step = second
    assert (read["loader"], read["number"]) == ("loader", 1)
    assert (forward["module"], forward["training"], forward["samples"]) == ("model", True, 8)
    assert 0 < backward["loss"] < 3
    assert backward["gradient_norm"] == step["gradient_norm"] > 0
    assert (step["lr"], step["number"]) == ([0.1], 2)
    assert all(event["lanes"] == ["opt"] for event in second[1:])
    assert read["lanes"] == []


def test_evaluation_schedule_and_epochs_are_told() -> None:
    found = timeline(EVALUATED)
    evaluations = [event for event in found["events"] if event.get("evaluation")]
    assert evaluations
    assert all(event["kind"] == "forward" and not event["training"] and event["no_grad"] for event in evaluations)
    assert of_kind(found, "scheduler.step")[0]["lr"] == [0.01]
    assert [event["training"] for event in of_kind(found, "mode")][:2] == [False, True]
    assert {event["epoch"] for event in of_kind(found, "step")} == {0, 1}
    assert {event["loader"] for event in of_kind(found, "end of pass")} == {"loader", "val"}


def test_each_player_has_a_lane() -> None:
    found = timeline(scripts.GAN)
    assert [lane["optimizer"] for lane in found["lanes"]] == ["optimizerD", "optimizerG"]
    assert {tuple(event["lanes"]) for event in of_kind(found, "step")} == {("optimizerD",), ("optimizerG",)}
    # The generator's loss fills the discriminator's gradients as well.
    assert {tuple(event["lanes"]) for event in of_kind(found, "backward")} == {
        ("optimizerD",),
        ("optimizerD", "optimizerG"),
    }


def test_a_script_without_an_optimizer_has_events_and_no_lane() -> None:
    found = timeline(scripts.BY_HAND.replace("opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)\n", ""))
    assert found["lanes"] == []
    assert {update["by"] for update in of_kind(found, "update")} == {"hand"}
    assert {event["kind"] for event in found["events"]} >= {"read", "forward", "backward", "zero_grad"}


def test_clipping_and_accumulation_are_told() -> None:
    found = timeline(scripts.ACCUMULATION)
    assert {clip["limit"] for clip in of_kind(found, "clip")} == {0.1}
    first = [event["kind"] for event in found["events"] if event["iteration"] == 0]
    assert first.count("backward") == 3


def test_a_long_observation_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnlint.timeline._MOST_EVENTS", 10)
    found = timeline(scripts.PLAIN)
    assert len(found["events"]) == 10
    assert found["left_out"] > 5


def test_a_script_that_trained_nothing_has_none() -> None:
    assert timeline("import torch\nx = torch.randn(3)\n") == {}


def test_the_report_of_a_run_carries_it_once(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gan.py").write_text(scripts.GAN)
    result = CliRunner().invoke(main, ["run", "--format", "json", "--select", "STP", "gan.py"])
    targets = json.loads(result.stdout)["results"]
    assert ["timeline" in target["measurements"] for target in targets] == [True, False, False]
    events = targets[0]["measurements"]["timeline"]["events"]
    assert next(event for event in events if event["kind"] == "step")["line"].startswith("gan.py:")
