"""Whose code a file is."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import nnlint
from nnlint import provenance
from nnlint.provenance import Owner, owner_of


@pytest.mark.parametrize(
    ("module", "owner"),
    [(torch, Owner.TOOL), (torch.nn.functional, Owner.TOOL), (contextlib, Owner.TOOL), (nnlint, Owner.TOOL), (provenance, Owner.TOOL)],
)  # fmt: skip
def test_tools(module: ModuleType, owner: Owner) -> None:
    assert owner_of(str(module.__file__)) is owner


def test_rules_are_nnlint() -> None:
    import nnlint_rules.loss.softmax_before_cross_entropy as rule

    assert provenance.is_nnlint_file(str(rule.__file__))


@pytest.mark.parametrize("name", ["torch_geometric", "torchvision", "torchmetrics", "torchaudio"])
def test_a_name_that_begins_like_torch_is_not_torch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of torch without a separator is a prefix of theirs."""
    folder = Path(torch.__file__).parent.with_name(name)
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    monkeypatch.setitem(sys.modules, name, package)
    owner_of.__globals__["_package_with"].cache_clear()
    assert owner_of(str(folder / "nn" / "layers.py")) is Owner.LIBRARY


@pytest.mark.parametrize("folder", ["nnlint", "nnlint/nnlint_rules", "torch", "lib/python3.12/site-packages/company"])
def test_a_project_is_the_users_wherever_it_lies(folder: str, tmp_path: Path) -> None:
    assert owner_of(str(tmp_path / folder / "train.py")) is Owner.USER


@pytest.mark.parametrize(("file", "owner"), [("<ipython-input-3-abc>", Owner.USER), ("<stdin>", Owner.USER), ("<string>", Owner.USER),
    ("<frozen importlib._bootstrap>", Owner.TOOL), ("<eval_with_key>.0", Owner.TOOL)])  # fmt: skip
def test_code_without_a_file(file: str, owner: Owner) -> None:
    assert owner_of(file) is owner


def test_a_library_is_named_by_import_name_not_by_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "checkout" / "company_zoo" / "nets.py"
    package = ModuleType("company_zoo")
    package.__path__ = [str(file.parent)]
    monkeypatch.setitem(sys.modules, "company_zoo", package)
    assert owner_of(str(file)) is Owner.USER
    assert provenance.is_library_file(str(file), ["company_zoo"])
    assert not provenance.is_library_file(str(file.parent.with_name("other") / "nets.py"), ["company_zoo"])


def test_every_library_says_why() -> None:
    assert all(reason for reason in provenance.MODEL_LIBRARIES.values())
    assert "torch" not in provenance.MODEL_LIBRARIES


def test_installed_is_a_place_and_no_owner() -> None:
    assert provenance.is_installed(str(Path(str(importlib.util.__file__))))
    assert not provenance.is_installed(__file__)
