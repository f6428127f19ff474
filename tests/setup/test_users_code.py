"""A default device of the user's: their code keeps it, nnlint's own tensors do without. The meta device stands for a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from nnlint.cli import main
from nnlint.config import CheckSettings
from nnlint.engine import check
from nnlint.setup.users_code import own_default_device, users_code

SCRIPT = """
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(64, 4), torch.randint(0, 3, (64,))
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
opt = torch.optim.SGD(model.parameters(), lr=0.1)
torch.set_default_device("meta")
for epoch in range(9):
    opt.zero_grad()
    loss = F.cross_entropy(model(x).softmax(-1), y)
    loss.backward()
    opt.step()
"""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    torch.set_default_device(None)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(1))
        self.device = "cpu"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert torch.zeros(1).device.type == self.device, "the forward makes its tensors where the user wants them"
        return self.body(x)


def setup() -> dict[str, Any]:
    torch.manual_seed(0)
    model = Net()
    fields = {"inputs": torch.randn(32, 4), "targets": torch.randint(0, 3, (32,)), "loss": nn.CrossEntropyLoss()}
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), **fields}


def test_findings_are_the_same() -> None:
    plain = check(setup(), CheckSettings(deep=True))
    given = setup()
    given["model"].device = "meta"
    torch.set_default_device("meta")
    found = check(given, CheckSettings(deep=True))
    assert torch.get_default_device().type == "meta"
    assert [(one.code, one.message) for one in found.findings] == [(one.code, one.message) for one in plain.findings]
    assert "LOS001" in {one.code for one in found.findings}
    assert [one.code for one in found.skipped] == [one.code for one in plain.skipped]


def test_whose_code_makes_tensors_where() -> None:
    torch.set_default_device("meta")
    with own_default_device():
        assert torch.zeros(1).device.type == "cpu"
        with users_code():
            assert torch.zeros(1).device.type == "meta"
            with users_code():
                assert torch.zeros(1).device.type == "meta"
            assert torch.zeros(1).device.type == "meta"
        assert torch.zeros(1).device.type == "cpu"
    assert torch.zeros(1).device.type == "meta"


def test_nothing_happens_without_one() -> None:
    with own_default_device(), users_code():
        assert torch.overrides._len_torch_function_stack() == 0


def test_a_script_that_sets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SCRIPT)
    result = CliRunner().invoke(main, ["run", "--no-color", "train.py"])
    assert "LOS001" in result.stderr
    assert "RUN0" not in result.stderr
    assert result.exit_code == 1
