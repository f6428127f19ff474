"""Target strings: every form, and the message of every way to fail."""

from __future__ import annotations

import importlib
import random
import sys
import textwrap

import pytest
import torch
from torch import nn

from nnlint.setup import SetupError, SetupOptions
from nnlint.setup.target import library_models as hub_module
from nnlint.setup.target.resolve import parse_target, resolve

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = nn.Linear(width, 2)

    def forward(self, x):
        return self.body(x)

class Holder:
    model = Net()
    @staticmethod
    def build(): return Net()

def build(): return Net()
def wide(width, bias=True): return Net(width)
def full(): return {"model": Net(), "inputs": torch.ones(3, 4), "targets": torch.zeros(3, 2), "loss": nn.MSELoss()}
def nothing(): pass
def number(): return 42
def late(): import package_that_is_missing
def lazy(): raise ModuleNotFoundError("no backend was found for Model")
def wrong():
    return [][3]
def leave():
    raise SystemExit(3)
async def coroutine(): pass
answer = 42
live = Net()
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    for number, name in enumerate(("nets", "projectnets")):
        (tmp_path / f"{name}.py").write_text(NET + f"number_of_file = {number}\n")
    yield tmp_path
    for name in set(sys.modules) - set(before):
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def write(directory, name, text):
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def setup_of(target, project, **options):
    return resolve(target, SetupOptions(directory=project, **options))


def error_of(target, project, **options):
    with pytest.raises(SetupError) as caught:
        setup_of(target, project, **options)
    return caught.value


@pytest.mark.parametrize(
    "target", ["nets:build", "nets.py:build", "nets:Net", "nets:live", "nets:Holder.model", "nets:Holder.build",
               "nets.py", "nets", "./nets.py:Net", "nets:Net(4)", "nets:wide(width=4, bias=False)", "nets:wide( 4 )"]
)  # fmt: skip
def test_accepted_targets(target, project):
    setup = setup_of(target, project)
    assert type(setup.model).__name__ == "Net"
    assert setup.call_model().shape == (8, 2)
    assert setup.inputs_assumed
    assert "8x4 float32" in setup.assumptions[0]


def test_a_full_setup_assumes_nothing(project):
    setup = setup_of("nets:full", project)
    assert setup.assumptions == ()
    assert not setup.inputs_assumed
    assert not setup.targets_assumed


def test_construction_lines_are_those_of_the_file(project):
    setup = setup_of("nets.py:build", project)
    place = setup.construction["body"]
    assert place.file == str(project / "nets.py")
    assert (project / "nets.py").read_text().splitlines()[place.line - 1].strip() == "self.body = nn.Linear(width, 2)"
    assert "return Net()" in (project / "nets.py").read_text().splitlines()[setup.construction[""].line - 1]


def test_the_weights_are_seeded_and_the_generators_untouched(project):
    states = torch.get_rng_state(), random.getstate()
    first = setup_of("nets:build", project, seed=3).model.body.weight
    second = setup_of("nets:build", project, seed=3).model.body.weight
    other = setup_of("nets:build", project, seed=4).model.body.weight
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("nest:build", ["module 'nest' not found", "did you mean nets"]),
        ("zzzqqq:build", ["module 'zzzqqq' not found", "there are nets, projectnets"]),
        ("nets.build", ["nets is a module, not a package; did you mean nets:build?"]),
        ("net.py:build", ["file net.py not found", "did you mean nets.py"]),
        ("none/net.py:build", ["file none/net.py not found", "there is no directory"]),
        ("nets:biuld", ["nets has no attribute 'biuld'", "did you mean build"]),
        ("nets:Holder.modle", ["nets:Holder has no attribute 'modle'", "did you mean model"]),
        ("nets:answer", ["nets:answer is int 42", "accepted are a torch.nn.Module, a dict"]),
        ("nets:answer(3)", ["nets:answer is int 42: it cannot be called with arguments"]),
        ("nets:live(3)", ["it cannot be called with arguments"]),
        ("nets:wide", ["wide(width, bias=True) needs arguments that were not given: width", "write wide(width=...)"]),
        ("nets:wide(bias=False)", ["needs arguments that were not given: width"]),
        ("nets:build(3)", ["build() does not take the arguments given: too many positional arguments"]),
        ("nets:wide(4, depth=3)", ["does not take the arguments given", "depth"]),
        ("nets:nothing", ["nothing() returned None (is a `return` missing?)", "accepted are"]),
        ("nets:number", ["number() returned int 42; accepted are"]),
        ("nets:wide(width=torch)", ["must be literals"]),
        ("nets:wide(width=", ["malformed"]),
        ("nets:wide(width=4", ["malformed"]),
        ("nets:wide(**{'width': 4})", ["no ** is possible"]),
        ("nets:", ["malformed target"]),
        (":build", ["malformed target"]),
        ("", ["malformed target"]),
        ("nets:wide(4)(5)", ["malformed"]),
        ("a-b:build", ["'a-b' is neither a module name nor a path"]),
    ],
)  # fmt: skip
def test_refused_targets(target, parts, project):
    error = error_of(target, project)
    assert error.code == "RUN001"
    assert error.fix
    for part in parts:
        assert part in f"{error.message}\n{error.fix}"


def line_of(path, text):
    return next(n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize("form", ["{name}:build", "{name}.py:build"])
@pytest.mark.parametrize(
    ("body", "mark", "parts"),
    [
        ("import package_that_is_missing", "import", ["imports 'package_that_is_missing', which is not installed"]),
        ("import os.nonsense", "import", ["imports 'os.nonsense', which is not installed"]),
        (
            "raise ModuleNotFoundError('no part of X was found')",
            "raise",
            ["raised ModuleNotFoundError while being imported: no part of X was found"],
        ),
        ("x = 1\nx / 0", "/", ["raised ZeroDivisionError while being imported: division by zero"]),
        ("import sys\nsys.exit(5)", "exit", ["called sys.exit(5) while being imported", "if __name__ == '__main__'"]),
        ("def build(:\n    pass", "def", ["is not valid Python: ", "correct the line"]),
    ],
)
def test_errors_inside_the_module(form, body, mark, parts, project):
    path = write(project, "broken.py", "")
    path.write_text("# first line\n" + body + "\n")
    error = error_of(form.format(name="broken"), project)
    assert error.code == "RUN001"
    assert error.location is not None
    assert (error.location.file, error.location.line) == (str(path), line_of(path, mark))
    assert "frozen" not in (error.trace or "")
    assert "nnlint/setup" not in (error.trace or "")
    assert (error.trace is None) == ("is not valid Python" in error.message)  # the line says all of a syntax error
    for part in parts:
        assert part in f"{error.message}\n{error.fix}"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("late", ["late() needs the package 'package_that_is_missing', which is not installed"]),
        ("lazy", ["lazy() cannot import: no backend was found for Model"]),
        ("wrong", ["wrong() raised IndexError: list index out of range"]),
        ("leave", ["leave() called sys.exit(3) instead of returning a model"]),
    ],
)
def test_errors_inside_the_build_function(name, parts, project):
    error = error_of(f"nets:{name}", project)
    assert error.code == "RUN001"
    assert error.location is not None
    assert error.location.file == str(project / "nets.py")
    assert error.location.function == name or sys.version_info < (3, 11)
    assert "Traceback" in (error.trace or "")
    for part in parts:
        assert part in error.message


def test_a_coroutine_is_no_setup(project):
    assert "coroutine() returned a coroutine (write a plain `def`" in error_of("nets:coroutine", project).message


def test_discovery_prefers_the_earlier_name(project):
    write(project, "some.py", NET + "model = Net()\ndef nnlint_setup(): return {'model': Net(7)}\n")
    assert setup_of("some.py", project).model.body.in_features == 7


def test_discovery_lists_what_there_is(project):
    write(project, "some.py", "import os\nfrom torch import nn\ndef resnet(): pass\n")
    error = error_of("some.py", project)
    assert "defines none of nnlint_setup, build, build_fn, make_model, create_model, model; it defines resnet" in error.message
    assert error.fix == "name the attribute to check: some.py:resnet"


def test_a_directory_is_no_target(project):
    assert "is a directory: name a file in it: nets.py, projectnets.py" in error_of("./:build", project).message


def test_a_missing_module_of_a_package(project):
    write(project, "pack/__init__.py", "")
    write(project, "pack/models.py", NET)
    assert "not found in the package pack; did you mean models" in error_of("pack.model:build", project).message
    assert setup_of("pack.models:build", project).model.body.in_features == 4


def test_files_import_their_siblings_and_do_not_clobber_each_other(project):
    for name, width in (("one", 5), ("two", 6)):
        write(project, f"{name}/parts.py", f"WIDTH = {width}\n")
        write(project, f"{name}/model.py", NET + "import parts\ndef sized(): return Net(parts.WIDTH)\n")
    first = setup_of("one/model.py:sized", project).model
    second = setup_of("two/model.py:sized", project).model
    again = setup_of("one/model.py:sized", project).model
    assert [m.body.in_features for m in (first, second, again)] == [5, 6, 5]
    assert type(first) is not type(second)
    assert sys.modules[type(first).__module__] is not sys.modules[type(second).__module__]
    assert "model" not in sys.modules


def test_a_file_in_a_package_may_import_relatively(project):
    write(project, "deep/__init__.py", "")
    write(project, "deep/parts.py", "WIDTH = 9\n")
    write(project, "deep/model.py", NET + "from .parts import WIDTH\ndef sized(): return Net(WIDTH)\n")
    assert setup_of("deep/model.py:sized", project).model.body.in_features == 9


def test_a_file_sees_no_arguments_of_nnlint(project, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["nnlint", "check", "--fancy"])
    write(project, "script.py", NET + "import argparse\nargparse.ArgumentParser().parse_args()\n")
    setup_of("script.py:build", project)
    assert sys.argv == ["nnlint", "check", "--fancy"]


def test_standard_modules_are_not_replaced_by_namesakes(project):
    write(project, "random.py", "raise RuntimeError\n")
    setup_of("nets.py:build", project)
    assert sys.modules["random"] is random


def test_hints_name_only_what_the_module_defines(project):
    message = error_of("nets:Linera", project).message
    assert "Linear" not in message


@pytest.mark.parametrize(
    ("text", "where", "attribute", "args", "kwargs", "prefix"),
    [
        ("a.b:c", "a.b", "c", None, {}, None),
        ("C:\\x\\y.py:c.d", "C:\\x\\y.py", "c.d", None, {}, None),
        ("a:c(1, 'x:y', k=[2])", "a", "c", (1, "x:y"), {"k": [2]}, None),
        ("a:c()", "a", "c", (), {}, None),
        ("timm:resnet18.a1_in1k(in_chans=1)", "resnet18.a1_in1k", None, (), {"in_chans": 1}, "timm"),
        ("dir/a.py", "dir/a.py", None, None, {}, None),
    ],
)
def test_parts_of_a_target(text, where, attribute, args, kwargs, prefix):
    target = parse_target(text)
    assert (target.where, target.attribute, target.args, target.kwargs) == (where, attribute, args, kwargs)
    assert target.prefix == prefix


class Library:
    """Stands in for timm and torchvision, which need not be installed."""

    def __init__(self):
        self.models = self

    def list_models(self):
        return ["resnet18", "vit"]

    def create_model(self, name, pretrained, **kwargs):
        assert not pretrained
        return nn.Linear(kwargs.get("width", 3), 2)

    def get_model_builder(self, name):
        def builder(*, weights="trained", weights_backbone="trained", width=3):
            assert weights is weights_backbone is None
            return nn.Linear(width, 2)

        return builder


@pytest.mark.parametrize("prefix", ["timm", "torchvision"])
def test_models_of_libraries(prefix, monkeypatch):
    monkeypatch.setattr(hub_module, "_library", lambda name: Library())
    assert resolve(f"{prefix}:resnet18(width=5)").model.in_features == 5
    with pytest.raises(SetupError, match=f"{prefix} has no model 'resnet81'; did you mean resnet18"):
        resolve(f"{prefix}:resnet81")


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (ModuleNotFoundError("No module named 'timm'", name="timm"), "timm is not installed"),
        (ModuleNotFoundError("No module named 'yaml'", name="yaml"), "timm cannot be imported: it lacks 'yaml'"),
        (RuntimeError("operator does not exist"), "timm cannot be imported: RuntimeError: operator does not exist"),
    ],
)
def test_libraries_that_cannot_be_imported(raised, message, monkeypatch):
    def refuse(name):
        raise raised

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(SetupError) as caught:
        resolve("timm:resnet18")
    assert caught.value.message == message


def test_loss_from_a_module(project):
    mine = "def mine(o, t): return (o - t).abs().mean()"
    write(project, "losses.py", f"from torch import nn\n{mine}\nclass Own(nn.L1Loss): pass\nfive = 5\n")
    setup = setup_of("nets:build", project, loss="losses:mine")
    assert setup.compute_loss(setup.call_model()) > 0
    assert type(setup_of("nets:build", project, loss="losses:Own").loss).__name__ == "Own"
    assert type(setup_of("nets:build", project, loss="losses:Own(reduction='sum')").loss).__name__ == "Own"
    assert "the loss losses:five is not callable" in error_of("nets:build", project, loss="losses:five").message
    assert "names no attribute" in error_of("nets:build", project, loss="timm:resnet18").message
