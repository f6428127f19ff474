"""INI003, LOS018, NRM008: what a model library chose is a warning, what the user chose an error, wherever it lies."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import nnlint

SOURCE = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(64, 64), nn.Linear(64, 10)
        for layer in (self.first, self.head):
            nn.init.normal_(layer.weight, std=4.0)

    def forward(self, x):
        return self.head(self.first(x).relu())

class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(64, 64), nn.GroupNorm(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        x = self.first(x)
        return self.head((x + self.norm(x)).relu())
"""


@pytest.fixture(params=["site-packages", "src"])
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModuleType]:
    """The same project, installed by pip and in a folder."""
    file = tmp_path / request.param / "pretend_zoo.py"
    file.parent.mkdir()
    file.write_text(SOURCE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("pretend_zoo", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pretend_zoo"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["pretend_zoo"]


@pytest.mark.parametrize(("code", "model"), [("INI003", "Net"), ("LOS018", "Net"), ("NRM008", "Normed")])
def test_a_project_is_judged_alike_from_a_folder_and_installed(package: ModuleType, code: str, model: str) -> None:
    assert level_of(code, getattr(package, model)) == "error"


@pytest.mark.parametrize(("code", "model"), [("INI003", "Net"), ("LOS018", "Net"), ("NRM008", "Normed")])
def test_the_library_chose(package: ModuleType, code: str, model: str) -> None:
    assert level_of(code, getattr(package, model), libraries=["pretend_zoo"]) == "warning"


@pytest.mark.parametrize("code", ["INI003", "LOS018"])
def test_the_user_chose_the_head(package: ModuleType, code: str) -> None:
    def build() -> nn.Module:
        model: nn.Module = package.Net()
        nn.init.kaiming_normal_(model.first.weight)
        model.head = nn.Linear(64, 10)
        nn.init.normal_(model.head.weight, std=8.0)
        return model

    assert level_of(code, build, libraries=["pretend_zoo"]) == "error"


def level_of(code: str, make: Callable[[], nn.Module], **settings: object) -> str:
    def build() -> dict[str, object]:
        torch.manual_seed(0)
        targets = torch.arange(32) % 10
        return {"model": make(), "inputs": torch.randn(32, 64), "targets": targets, "loss": nn.CrossEntropyLoss()}

    (finding,) = nnlint.check(build, select=[code], **settings).results[0].findings
    return finding.level.value
