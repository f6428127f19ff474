"""Reports in Weights & Biases (offline), TensorBoard (read back) and MLflow (local store), with the real libraries."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nnlint
from nnlint.integrations.measured import HISTOGRAM_EDGES, measured
from nnlint.report import Report, TargetReport


@pytest.fixture(scope="module")
def report() -> nnlint.Report:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    setup = {
        "model": model,
        "inputs": torch.randn(12, 8),
        "targets": torch.arange(12) % 3,
        "loss": nn.CrossEntropyLoss(),
    }
    return nnlint.check({**setup, "optimizer": optimizer}, details=True, select=("LOS", "SIG", "GRD", "TRN"))


def test_measurements_in_the_shapes_of_trackers(report: nnlint.Report) -> None:
    (found,) = measured(report)
    assert found.scalars["nnlint/errors"] == 1.0
    assert found.scalars["nnlint/std/0"] > 0
    steps = next(curve for curve in found.curves if curve.name == "nnlint/steps/loss")
    assert steps.x[:2] == (0.0, 1.0)
    assert len(steps.x) == len(steps.y) > 1
    assert [table.name for table in found.tables] == ["nnlint/findings", "nnlint/layers"]
    assert {len(histogram.counts) for histogram in found.histograms} == {64}
    assert len(HISTOGRAM_EDGES) == 65


def test_targets_are_told_apart() -> None:
    both = Report(nnlint="0", results=[TargetReport(target="a"), TargetReport(target="b")])
    assert [next(iter(found.scalars)) for found in measured(both)] == ["nnlint/a/infos", "nnlint/b/infos"]


@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases_offline(report: nnlint.Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    from nnlint.integrations.wandb import log_report

    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    # wandb replaces these for the rest of the process; the tests after this one need the originals.
    monkeypatch.setattr(sys, "exit", sys.exit)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(ValueError, match="no active run"):
        log_report(report)
    with wandb.init(mode="offline", project="nnlint", dir=str(tmp_path)) as run:
        log_report(report)
        summary = dict(run.summary)
    assert summary["nnlint/errors"] == 1.0
    assert summary["nnlint/findings"]["_type"] == "table-file"
    assert summary["nnlint/activation/0"]["_type"] == "histogram"
    pages = list(tmp_path.rglob("nnlint/*.html"))
    assert pages
    assert "LOS001" in pages[0].read_text()


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_is_read_back(report: nnlint.Report, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from nnlint.integrations.tensorboard import write_report

    write_report(report, tmp_path, step=3)
    events: Any = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    (errors,) = events.Scalars("nnlint/errors")
    assert (errors.step, errors.value) == (3, 1.0)
    assert len(events.Scalars("nnlint/steps/loss")) > 1
    (histogram,) = events.Histograms("nnlint/weight/0 (log10)")
    assert histogram.histogram_value.num == 8 * 16
    assert "LOS001" in str(events.Tensors("nnlint/report/text_summary")[0].tensor_proto)


@pytest.mark.filterwarnings("ignore")
def test_mlflow_local_store(report: nnlint.Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    from nnlint.integrations.mlflow import log_report

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with pytest.raises(ValueError, match="no active run"):
        log_report(report)
    mlflow.set_tracking_uri(tmp_path.as_uri())
    try:
        mlflow.set_experiment("nnlint")
        with mlflow.start_run() as run:
            log_report(report)
        client = mlflow.MlflowClient()
        metrics = client.get_run(run.info.run_id).data.metrics
        assert metrics["nnlint/errors"] == 1.0
        assert len(client.get_metric_history(run.info.run_id, "nnlint/steps/loss")) > 1
    finally:
        mlflow.set_tracking_uri(None)
    (findings,) = tmp_path.rglob("nnlint/0/findings.json")
    assert json.loads(findings.read_text())["data"][0][0] == "LOS001"
    (histograms,) = tmp_path.rglob("nnlint/0/histograms.json")
    assert sum(json.loads(histograms.read_text())["counts"]["nnlint/weight/0"]) == 8 * 16
    (page,) = tmp_path.rglob("nnlint/report.html")
    assert "LOS001" in page.read_text()
