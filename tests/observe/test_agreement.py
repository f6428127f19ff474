"""`nnlint run` and `nnlint check` agree: the setups of fixtures, trained by a script in the plain way, give the same findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnlint import Level, engine
from nnlint.config import CheckSettings
from nnlint.observation.course import Plan
from nnlint.observation.observer import Observer
from nnlint.observation.start import run_script
from nnlint.report import TargetReport
from nnlint.run import Judge

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

SCRIPT = """
import runpy

import torch

made = runpy.run_path({file!r})[{function!r}]()
model, inputs, targets, loss_function = (made[key] for key in ("model", "inputs", "targets", "loss"))
optimizer = made.get("optimizer") or torch.optim.SGD(model.parameters(), lr=1e-3)
model.train()
for step in range(5):
    optimizer.zero_grad()
    if isinstance(inputs, dict):
        output = model(**inputs)
    else:
        output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    loss = loss_function(output, targets)
    loss.backward()
    optimizer.step()
"""

#: One of each kind: in the loss, the architecture, the initialization, a norm, the signal, the gradient, the optimizer.
SAME = [
    "architecture/unregistered_layer",
    "architecture/sigmoid_chain",
    "loss/softmax_before_cross_entropy",
    "initialization/constant_weights",
    "normalization/consecutive_norms",
    "optimizer/parameter_not_optimized",
    "optimizer/adam_l2",
    "signal/dead_units",
    "gradient/half_precision_underflow",
]

#: A random sample of the other fixtures with a loss and targets.
SAMPLE = [
    "architecture/causal_leak",
    "architecture/discarded_result",
    "gradient/vanishing_gradient",
    "initialization/gain_mismatch",
    "initialization/undersized_weights",
    "loss/label_shift",
    "loss/rectified_logits",
    "loss/regression_loss_for_classes",
    "normalization/inverted_momentum",
    "normalization/norm_on_output",
    "normalization/wrong_dropout_rank",
    "optimizer/learning_rate_too_high",
]


def run(file: Path, function: str, folder: Path) -> list[TargetReport]:
    script = folder / "train.py"
    script.write_text(SCRIPT.format(file=str(file), function=function))
    observer = Observer(Plan())
    error: BaseException | None = None
    try:
        run_script(str(script), [], as_module=False, on_torch=observer.start)
    except BaseException as raised:
        error = raised
    observer.stop(error)
    return Judge(observer, CheckSettings(), "train.py").reports(error)


def grave(report: TargetReport) -> set[tuple[str, str]]:
    return {(found.code, found.module) for found in report.findings if found.level.at_least(Level.WARNING)}


@pytest.mark.parametrize("folder", SAME)
@pytest.mark.parametrize("twin", ["bad", "good"])
def test_a_script_gets_what_its_build_function_gets(folder: str, twin: str, tmp_path: Path) -> None:
    file = FIXTURES / folder / f"{twin}.py"
    checked = engine.check(f"{file}:build", CheckSettings())
    (observed,) = run(file, "build", tmp_path)
    assert grave(observed) == grave(checked)


@pytest.mark.parametrize("folder", SAMPLE)
def test_a_script_gets_the_codes_of_its_build_function(folder: str, tmp_path: Path) -> None:
    file = FIXTURES / folder / "bad.py"
    checked = engine.check(f"{file}:build", CheckSettings())
    (observed,) = run(file, "build", tmp_path)
    # Places may differ: a loss that a script calls has a line, one that a build function returns has none.
    assert {code for code, _ in grave(observed)} == {code for code, _ in grave(checked)} != set()


@pytest.mark.parametrize(
    ("folder", "told", "symptom"),
    [("optimizer/zero_learning_rate", "STP005", "OPT005"), ("loss/one_logit_cross_entropy", "LOS011", "STP005")],
)
def test_updates_without_effect_are_told_once(folder: str, told: str, symptom: str, tmp_path: Path) -> None:
    (observed,) = run(FIXTURES / folder / "bad.py", "build", tmp_path)
    assert {code for code, _ in grave(observed)} == {told}
    assert symptom in {seen.code for finding in observed.findings for seen in finding.symptoms}
