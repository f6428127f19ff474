"""Models that are never run on values are built without any: library models of a static check, and `--device meta`."""

from __future__ import annotations

from types import MappingProxyType

import pytest
import torch
from torch import nn

from nnlint.config import CheckSettings
from nnlint.engine import check
from nnlint.setup import SetupOptions
from nnlint.setup.target import resolve as resolving

#: A square matrix of this size takes 4 TB: nobody has built it for real.
HUGE = 1_000_000


class Huge(nn.Module):
    """Larger than any memory."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(HUGE, HUGE)
        self.norm = nn.LayerNorm(HUGE)
        self.head = nn.Linear(HUGE, HUGE)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.embed(ids)))


class NeedsValues(nn.Module):
    """Reads a tensor while it is built, as stochastic depth does."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = torch.linspace(0, 0.1, 3).tolist()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


HUGE_FILE = f"""
import torch
from torch import nn

def build():
    model = nn.Sequential(nn.Linear({HUGE}, {HUGE}), nn.ReLU(), nn.Linear({HUGE}, 3))
    return {{
        "model": model,
        "inputs": torch.randn(4, {HUGE}),
        "targets": torch.randint(0, 3, (4,)),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=0.0),
    }}
"""


@pytest.fixture
def adapter(monkeypatch):
    def use(made):
        monkeypatch.setattr(resolving, "ADAPTERS", MappingProxyType({"timm": lambda name: made()}))

    return use


def test_a_library_model_of_a_static_check_has_no_weights(adapter) -> None:
    adapter(Huge)
    report = check("timm:huge", CheckSettings(static=True))
    assert report.status == "ok"
    assert report.findings == []
    assert report.subject["device"] == "meta"
    assert report.subject["parameters"] == HUGE * (2 * HUGE + 3)


def test_a_model_that_needs_values_while_it_is_built_gets_them(adapter) -> None:
    adapter(NeedsValues)
    setup = resolving.resolve("timm:small", SetupOptions(static=True))
    assert not any(parameter.is_meta for parameter in setup.model.parameters())


def test_weights_are_built_where_a_checkpoint_is_loaded_or_values_are_run(adapter, tmp_path) -> None:
    adapter(lambda: nn.Linear(4, 2))
    torch.save(nn.Linear(4, 2).state_dict(), tmp_path / "weights.pt")
    loaded = SetupOptions(static=True, weights=str(tmp_path / "weights.pt"))
    for options in (loaded, SetupOptions()):
        assert not resolving.resolve("timm:linear", options).model.weight.is_meta


def test_a_build_function_on_the_meta_device(tmp_path) -> None:
    (tmp_path / "setup_of_huge.py").write_text(HUGE_FILE)
    report = check("setup_of_huge.py:build", CheckSettings(device="meta", directory=tmp_path))
    assert report.status == "ok"
    assert [finding.code for finding in report.findings] == ["OPT005"]  # the loss and the optimizer's groups are known
    assert report.subject["parameters"] > HUGE**2


def test_a_callable_on_the_meta_device() -> None:
    report = check(Huge, CheckSettings(device="meta"))
    assert report.status == "ok"
    assert report.subject["device"] == "meta"
