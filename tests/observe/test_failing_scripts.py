"""Scripts that raise before their first update: what stands between the data and the exception is judged as `check` judges it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from nnlint.cli import main
from nnlint.observation import tape

HEAD = """
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
"""

LOOP = """
opt = torch.optim.SGD(model.parameters(), lr=1e-2)
for xb, yb in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
    opt.zero_grad()
    loss = F.cross_entropy(model(xb), yb)
    loss.backward()
    opt.step()
"""

TOO_FEW_ROWS = f"""{HEAD}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(100, 16)
        self.fc = nn.Linear(16, 4)
    def forward(self, ids):
        return self.fc(self.emb(ids).mean(1))
model = Net()
x, y = torch.randint(0, 140, (64, 12)), torch.randint(0, 4, (64,))
{LOOP}"""

WRONG_SIZE_AT_FLATTEN = f"""{HEAD}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(8 * 8 * 8, 10)
    def forward(self, image):
        return self.fc(F.max_pool2d(F.relu(self.conv(image)), 2).flatten(1))
model = Net()
x, y = torch.randn(64, 3, 16, 16), torch.randint(0, 10, (64,))
{LOOP}"""

DOUBLES = f"""{HEAD}
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
x, y = torch.from_numpy(np.random.randn(64, 8)), torch.randint(0, 3, (64,))
{LOOP}"""

LABELS_FROM_ONE = f"""{HEAD}
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
x, y = torch.randn(64, 8), torch.randint(1, 6, (64,))
{LOOP}"""

LABELS_IN_A_CRITERION = LABELS_FROM_ONE.replace(
    "F.cross_entropy(model(xb), yb)", "nn.CrossEntropyLoss()(model(xb), yb)"
)

SHAPES_OF_LOSS_DIFFER = f"""{HEAD}
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
x, y = torch.randn(64, 8), torch.randint(0, 2, (64,)).float()
{LOOP.replace("cross_entropy", "binary_cross_entropy_with_logits")}"""

OVERWRITTEN = f"""{HEAD}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 3)
    def forward(self, rows):
        hidden = torch.sigmoid(self.a(rows))
        hidden += rows
        return self.b(hidden)
model = Net()
x, y = torch.randn(64, 8), torch.randint(0, 3, (64,))
{LOOP}"""

TWO_PARTS = f"""{HEAD}
encoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
model = nn.Linear(16, 3)
x, y = torch.randn(64, 8), torch.randint(0, 3, (64,))
{LOOP.replace("model(xb)", "model(encoder(xb))").replace("model.parameters()", "[*encoder.parameters(), *model.parameters()]")}"""

DETACHED = LABELS_FROM_ONE.replace("randint(1, 6", "randint(0, 4").replace("model(xb)", "model(xb).detach()")

KEYWORDS = TOO_FEW_ROWS.replace("model(xb)", "model(ids=xb)")


def judged(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The report of a script."""
    monkeypatch.chdir(folder)
    (folder / "train.py").write_text(source)
    result = CliRunner().invoke(main, ["run", "--format", "json", "train.py"])
    (target,) = json.loads(result.stdout)["results"]
    assert result.exit_code == (1 if target["status"] == "ok" else 2), result.stderr
    return dict(target)


@pytest.mark.parametrize(
    ("source", "codes", "line"),
    [
        (TOO_FEW_ROWS, {"DAT013", "RUN002"}, "return self.fc(self.emb(ids).mean(1))"),
        (KEYWORDS, {"DAT013", "RUN002"}, "return self.fc(self.emb(ids).mean(1))"),
        (WRONG_SIZE_AT_FLATTEN, {"RUN002"}, "return self.fc(F.max_pool2d("),
        (DOUBLES, {"DAT008", "RUN002"}, ""),
        (TWO_PARTS, {"RUN002"}, ""),
        (LABELS_FROM_ONE, {"LOS009", "RUN003"}, "loss = F.cross_entropy(model(xb), yb)"),
        (LABELS_IN_A_CRITERION, {"LOS009", "RUN003"}, "loss = nn.CrossEntropyLoss()(model(xb), yb)"),
        (SHAPES_OF_LOSS_DIFFER, {"RUN003"}, "loss = F.binary_cross_entropy_with_logits(model(xb), yb)"),
        (OVERWRITTEN, {"RUN004"}, ""),
        (DETACHED, {"LOS020"}, ""),
    ],
    ids=["rows", "keywords", "flatten", "doubles", "parts", "labels", "criterion", "shapes", "overwritten", "detached"],
)
def test_the_cause_is_named_once_with_its_line(
    source: str, codes: set[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = judged(source, tmp_path, monkeypatch)
    found = [finding for finding in target["findings"] if finding["level"] != "info"]
    assert {finding["code"] for finding in found} == codes
    assert not line or any(line in (finding["location"] or {}).get("text", "") for finding in found)
    assert "nnlint" not in found[-1]["fix"]


def test_an_exception_after_updates_is_told_with_its_likely_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
x, y = torch.randn(33, 8), torch.randint(0, 3, (33,))
{LOOP.replace(", shuffle=True", "")}"""
    target = judged(source, tmp_path, monkeypatch)
    (told,) = [finding for finding in target["findings"] if finding["level"] != "info"]
    assert told["code"] == "RUN012"
    assert "drop_last=True" in told["fix"]
    assert target["subject"]["model"] == "Sequential"


def test_an_exception_that_the_script_handles_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"""{HEAD}
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
x, y = torch.randn(64, 8), torch.randint(0, 3, (64,))
try:
    model(torch.randn(2, 9))
except RuntimeError:
    pass
raise FileNotFoundError("weights.pt")
"""
    target = judged(source, tmp_path, monkeypatch)
    assert [finding["code"] for finding in target["findings"]] == ["RUN012"]
    assert target["subject"] == {}


@pytest.mark.parametrize(
    "end", ["raise SystemExit(3)", "import argparse; argparse.ArgumentParser().parse_args(['--lr'])"]
)
def test_a_script_that_ends_itself_is_told_once(end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = judged(f"{HEAD}\n{end}\n", tmp_path, monkeypatch)
    assert [finding["code"] for finding in target["findings"]] == ["RUN012"]


def test_an_exception_without_words_stays_the_script_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    noted = tape.Tape()
    monkeypatch.setattr(noted, "_depends", lambda _: True)
    noted.failed(torch.add, (torch.ones(2),), {}, Mute(), tape.Circumstances.now())
    assert noted.failure is not None
    assert noted.failure[1].startswith("Mute: (no text")
    monkeypatch.setattr(noted, "kept", lambda *_: 1 / 0)
    noted.failed(torch.add, (torch.ones(2),), {}, KeyError("x"), tape.Circumstances.now())


@pytest.mark.parametrize(
    ("calls", "line"),
    [
        ("scaler.scale(loss).backward(); optimizer.step(); scaler.update()", "optimizer.step()"),
        ("scaler.scale(loss).backward(); scaler.step(optimizer)", "scaler.step(optimizer)"),
        ("scaler.scale(loss).backward(); scaler.unscale_(optimizer); scaler.step(optimizer)", "scaler.step(optimizer)"),
    ],
)
def test_what_a_scaler_raises_is_told_by_its_cause(
    calls: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""
import torch
from torch import nn
model = nn.Linear(8, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
for i in range(8):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = model(torch.randn(16, 8)).float().pow(2).mean()
    {calls}
"""
    found = [finding for finding in judged(source, tmp_path, monkeypatch)["findings"] if finding["level"] == "error"]
    assert [finding["code"] for finding in found] == ["STP009"]
    assert line in found[0]["location"]["text"]


CARRIED = f"""{HEAD}
rnn, head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 3)
optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=1e-3)
state = None
for i in range(8):
    x, y = torch.randn(4, 5, 8), torch.randint(0, 3, (4, 5))
    optimizer.zero_grad()
    out, state = rnn(x, state)
    loss = nn.functional.cross_entropy(head(out).flatten(0, 1), y.flatten())
    loss.backward({{retain}})
    optimizer.step()
"""


@pytest.mark.parametrize("retain", ["", "retain_graph=True"])
def test_a_state_that_is_carried_over_leads_before_what_torch_raises(
    retain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = judged(CARRIED.replace("{retain}", retain), tmp_path, monkeypatch)
    assert [finding["code"] for finding in target["findings"] if finding["level"] != "info"] == ["STP019"]
