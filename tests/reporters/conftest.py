"""A report with everything in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding, Skipped, SourceLocation, Symptom, TargetReport

SOURCE = """\
import torch


class Net:
    def forward(self, x):
        x = self.fc1(x)  # first
        x = self.fc2(x)
        return torch.sigmoid(x)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the source of the model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def report(folder: Path) -> Report:
    """Errors, warnings, notes, symptoms, layers, skipped rules."""
    error = ReportedFinding(
        code="LOS002",
        name="sigmoid-before-cross-entropy",
        level=Level.ERROR,
        message="sigmoid's output goes into cross_entropy (train.py:12), which applies softmax itself: the loss cannot "
        "fall below 1.461 for 10 classes",
        location=SourceLocation(file="mymodel.py", line=8, function="Net.forward"),
        evidence={"floor": 1.461, "ratio": float("inf")},
        fix="return the logits `x`; apply softmax only where probabilities are shown",
        fingerprint="00112233445566aa",
    )
    warning = ReportedFinding(
        code="ARC024",
        name="sigmoid-chain",
        level=Level.WARNING,
        message="three sigmoids in sequence: the gradient shrinks 0.14x a layer",
        module="conv1",
        modules=["conv2", "fc1"],
        location=SourceLocation(file="mymodel.py", line=6, function="Net.forward"),
        symptoms=[
            Symptom(code="GRD001", name="vanishing-gradient", message="gradient of conv1 is 1.4e-3 of fc2's"),
            Symptom(code="SIG006", name="x", message="samples differ by 2.6 % at fc1"),
        ],
        fix="ReLU or GELU between the layers",
        fingerprint="00112233445566bb",
    )
    note = ReportedFinding(
        code="INI010", name="odd-bias", level=Level.INFO, message="the bias is 100 % ones", module="fc1", fix="drop it"
    )
    result = TargetReport(
        target="mymodel:build_fn",
        subject={
            "model": "Net",
            "parameters": 3_274_634,
            "batch": "64 x (1, 28, 28)",
            "loss": "cross_entropy",
            "optimizer": "Adam lr 0.001",
            "scheduler": None,
            "device": "cpu",
        },
        findings=[error, note, warning],
        skipped=[
            Skipped(code="DAT011", name="x", reason="no validation data"),
            Skipped(code="OPT012", name="x", reason="no scheduler"),
            Skipped(code="TRN006", name="x", reason="no validation data"),
        ],
        measurements={
            "layers": [
                {"layer": "conv1", "std": 0.021, "zeros": 0.0, "dead": None, "gradient": 3.1e-5, "update": 4.0e-4},
                {"layer": "fc2", "std": 1.5, "zeros": 0.516, "dead": 0.25, "gradient": "nan", "update": None},
            ]
        },
        timings={"capture": 0.1, "build": 2.0, "total": 2.412, "training_steps": 3.6},
    )
    return Report(nnlint="0.1.0", torch="2.13.0", results=[result]).summarized()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium. It is part of the test environment: where it is missing, that is a failure and no skip."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found is not None, "these tests need Chromium: apt-get install chromium"
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()
