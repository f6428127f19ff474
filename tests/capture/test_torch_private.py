"""What torch does not promise is touched in one file, and each access can do without it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import nnlint
from nnlint.capture import torch_private

#: The second is what the observation of scripts needs besides.
HOMES = ("nnlint/capture/torch_private.py", "nnlint/capture/torch_wrapping.py", "nnlint/observation/torch_private.py")
PATCHED = {"__call__", "__init__", "__new__"}
#: Single-underscore attributes of torch's objects.
PRIVATE = {
    name
    for owner in (nn.Module(), torch.zeros(1), torch.zeros(1).untyped_storage(), torch.optim.SGD([torch.zeros(1)]), torch.Generator())
    for name in (*dir(owner), *vars(type(owner)))
    if name.startswith("_") and not name.startswith("__")
} | {"_forward_cls", "_concrete_type", "_c"}  # fmt: skip
#: Names that objects of nnlint have too, and names of recorded calls.
OWN = {"_is_view", "_replace", "_make", "_fields", "_name", "_call_impl"}


def private_accesses(file: Path) -> Iterator[str]:
    """Lines of a file that touch what torch does not promise."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names if alias.name.startswith("torch.") for part in alias.name.split(".")]
        elif isinstance(node, ast.Attribute):
            owner = node.value
            of_self = isinstance(owner, ast.Name) and owner.id in ("self", "cls", "other")
            rooted = ast.unparse(node).split(".")
            if rooted[0] in ("torch", "nn") and "(" not in ast.unparse(node):
                names = rooted
            elif node.attr in PRIVATE - OWN and not of_self:
                names = [node.attr]
            if isinstance(node.ctx, ast.Store) and node.attr in PATCHED:
                yield f"{file.name}:{node.lineno} assigns {ast.unparse(node)}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = ["_"] if node.value.startswith("torch._") or node.value in PRIVATE - OWN else []
        if any(name.startswith("_") and not name.startswith("__") for name in names):
            yield f"{file.name}:{node.lineno} {ast.unparse(node)}"


@pytest.mark.parametrize("folder", ["nnlint", "rules"])
def test_private_names_of_torch_are_in_one_file(repository: Path, folder: str) -> None:
    files = [file for file in (repository / folder).rglob("*.py") if file not in [repository / home for home in HOMES]]
    assert [found for file in files for found in private_accesses(file)] == []


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    lines = [
        "from torch._subclasses import FakeTensorMode",
        "from torch.optim.optimizer import _global_optimizer_pre_hooks",
        "x = torch._C.DisableTorchFunction()",
        "y = tensor._version",
        "nn.Module.__call__ = z",
        "import_module('torch._functorch.apis')",
        "module._forward_hooks.clear()",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert {found.split()[0] for found in private_accesses(file)} == {
        f"sample.py:{n}" for n in range(1, len(lines) + 1)
    }
    file.write_text("self._version\ntorch.nn.Module.__call__\nnnlint._cache\nclass A:\n    def __init__(self): ...\n")
    assert list(private_accesses(file)) == []


def test_this_torch_has_all_of_it() -> None:
    assert torch_private.lacking() == ()


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A torch without one of the private names."""
    name = str(request.param)
    original = torch_private._get.__wrapped__
    monkeypatch.setattr(torch_private, "_get", lambda asked: None if asked == name else original(asked))
    torch_private.lacking.cache_clear()
    yield name
    torch_private.lacking.cache_clear()


class Custom(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


class Net(nn.Module):
    """A custom function, a transform of torch.func and a script function in one forward."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.func.vmap(torch.sin)(Custom.apply(self.fc(x)))).float()


@pytest.mark.parametrize("absent", sorted(torch_private._NEEDED), indirect=True)
def test_a_torch_that_lacks_a_name_is_checked_all_the_same(absent: str) -> None:
    """It says what is skipped, and no rule and no probe fails for it."""
    (line,) = torch_private.lacking()
    assert absent.replace(":", ".") in line
    torch.manual_seed(0)
    case = {
        "model": Net(),
        "inputs": torch.randn(32, 6),
        "targets": torch.arange(32) % 3,
        "loss": nn.CrossEntropyLoss(),
    }
    (result,) = nnlint.check(case, select=["ARC", "GRD", "SIG"]).results
    assert result.status == "ok"
    assert line in result.assumptions


def test_a_complete_torch_is_not_mentioned() -> None:
    (result,) = nnlint.check({"model": nn.Linear(3, 2), "inputs": torch.randn(4, 3)}, select=["ARC001"]).results
    assert not any("torch has no" in line for line in result.assumptions)


@pytest.mark.parametrize("absent", ["torch:_foreach_norm"], indirect=True)
def test_norms_one_by_one(absent: str) -> None:
    assert [float(norm) for norm in torch_private.norms([torch.ones(4), torch.zeros(2)])] == [2.0, 0.0]


def test_patches_are_gone_after_an_exception() -> None:
    before = (
        nn.Module.__call__,
        nn.Module.__init__,
        nn.Parameter.__new__,
        "apply" in vars(torch.autograd.function._SingleLevelFunction),
    )

    def fails() -> None:
        with (
            torch_private.patched_module_call(lambda original: original),
            torch_private.patched_module_init(lambda original: original),
            torch_private.patched_parameter_new(lambda parameter: None),
            torch_private.observed_functions(lambda cls, bound, args, kwargs: bound(*args, **kwargs)),
        ):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    after = (
        nn.Module.__call__,
        nn.Module.__init__,
        nn.Parameter.__new__,
        "apply" in vars(torch.autograd.function._SingleLevelFunction),
    )
    assert after == before
