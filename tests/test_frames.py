"""The line that is shown for a call and for an exception."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import nnlint
from nnlint.capture.graph import Graph
from nnlint.frames import construction_line, format_trace, location_of_exception
from nnlint.probes.session import Plan, Session
from nnlint.setup import coerce

LAYERS = """
import torch
from torch import nn

class Conv(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.lin = nn.Linear(width, width)

    def forward(self, x, edges):
        out = torch.zeros_like(x).index_add(0, edges[1], self.lin(x)[edges[0]])
        return torch.sigmoid(out)
"""

USER = """
from torch import nn
import torch_geometric_like

class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch_geometric_like.Conv(4)

    def forward(self, x, edges):
        return self.conv(x, edges)  # the user's line

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x)  # raises

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 2))

    def forward(self, x):
        return self.body(x)  # raises
"""


def load(file: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, file.stem, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A library of layers, known as one."""
    monkeypatch.setattr("nnlint.provenance.is_library_file.__defaults__", (["torch_geometric_like"],))
    return load(tmp_path / "lib" / "torch_geometric_like.py", LAYERS, monkeypatch)


def recorded(model: nn.Module, *inputs: torch.Tensor) -> Graph:
    session = Session(coerce({"model": model, "inputs": inputs}), Plan())
    try:
        graph: Any = session.evidence("Graph")
        return graph
    finally:
        session.close()


def test_an_op_of_a_library_layer_is_shown_at_the_users_line(
    tmp_path: Path, layers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = load(tmp_path / "user.py", USER, monkeypatch)
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    (op,) = recorded(user.GCN(), torch.randn(3, 4), edges).calls("sigmoid")
    assert op.location is not None
    assert op.call_location is not None
    assert "# the user's line" in USER.splitlines()[op.location.line - 1]
    assert (op.location.file, op.call_location.file) == (user.__file__, layers.__file__)


def test_an_op_of_a_library_model_is_shown_at_the_librarys_line(layers: ModuleType) -> None:
    (op,) = recorded(layers.Conv(4), torch.randn(3, 4), torch.tensor([[0], [1]])).calls("sigmoid")
    assert op.location == op.call_location
    assert op.location is not None
    assert "torch.sigmoid(out)" in LAYERS.splitlines()[op.location.line - 1]


@pytest.mark.parametrize("folder", ["nnlint", "nnlint/examples", "site-packages", "project"])
@pytest.mark.parametrize("name", ["Broken", "Plain"])
def test_an_exception_is_shown_where_the_user_made_the_call(
    folder: str, name: str, tmp_path: Path, layers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a clone named nnlint too."""
    user = load(tmp_path / folder / "user.py", USER, monkeypatch)
    case = {"model": getattr(user, name)(), "inputs": torch.randn(4, 5)}
    (found,) = nnlint.check(case, select=["RUN"]).results[0].findings
    assert found.code == "RUN002"
    assert found.location is not None
    assert "# raises" in USER.splitlines()[found.location.line - 1]
    assert found.trace is not None
    assert str(user.__file__) in found.trace
    assert str(Path(nnlint.__file__).parent) not in found.trace


def test_a_trace_begins_at_the_users_code_and_names_the_cause() -> None:
    def inner() -> None:
        raise KeyError("inner")

    try:
        try:
            inner()
        except KeyError as cause:
            raise ValueError("outer") from cause
    except ValueError as error:
        trace = format_trace(error)
        location = location_of_exception(error)
    assert trace.startswith("Traceback (most recent call last):")
    assert "KeyError: 'inner'" in trace
    assert trace.endswith("ValueError: outer")
    assert location is not None
    assert location.file == __file__


def test_only_frames_below_the_driver_count() -> None:
    def driver() -> None:
        torch.zeros(2) @ torch.zeros(3)

    with pytest.raises(RuntimeError) as caught:
        driver()
    assert location_of_exception(caught.value, driver.__code__) is None
    assert location_of_exception(caught.value) is not None


def test_the_constructor_of_an_object_is_not_its_construction() -> None:
    class Made:
        def __init__(self) -> None:
            self.line = construction_line(self, sys._getframe())

    line = Made().line
    assert line is not None
    assert line.function is not None
    assert line.function.endswith("test_the_constructor_of_an_object_is_not_its_construction")
