"""User code that raises, or lies, where nnlint only looks: one finding against that code, and never an exception out of `check`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from nnlint import check
from nnlint.probes.printed import Printed


class Stop(BaseException):
    """What `except Exception` does not catch."""


class Mute(Exception):
    """An exception that cannot be printed."""

    def __str__(self) -> str:
        raise ValueError("nothing to say")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.relu(self.one(x)))


class Configured(Net):
    @property
    def config(self) -> Any:
        raise RuntimeError("not configured")


class NoAttributes(Net):
    def __getattr__(self, name: str) -> Any:
        if name in ("_parameters", "_modules", "_buffers") or name in self.__dict__.get("_modules", {}):
            return super().__getattr__(name)
        raise KeyError(name)


class NoModules(Net):
    def named_modules(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no modules")


class NoChildren(Net):
    def named_children(self) -> Any:
        raise RuntimeError("no children")


class NoParameters(Net):
    def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
        raise Stop("no parameters")


class NoTraining(Net):
    def train(self, mode: bool = True) -> Any:
        raise RuntimeError("no training")


class Cycle(Net):
    def __init__(self) -> None:
        super().__init__()
        self.one.parent = self


class Raises(Net):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise self.error


class Agreeable:
    """Equal to everything, and true or false to nobody."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


class Contrary:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")

    def __repr__(self) -> str:
        raise RuntimeError("not printable")

    __hash__ = object.__hash__


class Holds(Net):
    def __init__(self, kind: type) -> None:
        super().__init__()
        self.held, self.items = kind(), [kind()]
        self.one.table = {"x": kind()}


def setup(model: nn.Module) -> dict[str, Any]:
    parameters = [p for layer in vars(model)["_modules"].values() for p in nn.Module.parameters(layer)]
    return {
        "model": model,
        "inputs": torch.randn(8, 4),
        "targets": torch.arange(8) % 3,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam({id(p): p for p in parameters}.values()),
    }


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (Configured, "RUN010", "not configured"),
        (NoAttributes, "RUN010", "KeyError"),
        (NoModules, "RUN010", "no modules"),
        (NoChildren, "RUN010", "no children"),
        (NoParameters, "RUN010", "no parameters"),
        (NoTraining, "RUN008", "no training"),
        (Cycle, "RUN010", "contains itself"),
        (lambda: Raises(Stop("stopped")), "RUN002", "stopped"),
        (lambda: Raises(Mute()), "RUN002", "Mute"),
        (lambda: Raises(KeyboardInterrupt()), "RUN002", "KeyboardInterrupt"),
        (lambda: Raises(SystemExit(3)), "RUN002", "exit"),
        (lambda: Raises(GeneratorExit()), "RUN002", "GeneratorExit"),
    ],
)
def test_what_raises_is_one_finding_against_that_code(make: Callable[[], nn.Module], code: str, words: str) -> None:
    report = check(setup(make()))
    failures = [finding for finding in report.findings if finding.code.startswith("RUN")]
    assert [finding.code for finding in failures] == [code]
    assert words in failures[0].message
    assert report.exit_status() == 2
    if make is not Cycle:
        assert failures[0].location is not None
        assert failures[0].location.file.endswith("test_hostile_code.py")


@pytest.mark.parametrize("kind", [Agreeable, Contrary])
def test_objects_are_not_asked_what_they_are_equal_to(kind: type) -> None:
    torch.manual_seed(0)
    held = check(setup(Holds(kind)))
    torch.manual_seed(0)
    plain = check(setup(Net()))
    assert [finding.code for finding in held.findings] == [finding.code for finding in plain.findings]
    assert held.exit_status() == 0


@pytest.mark.parametrize("error", [Stop("stopped"), Mute(), KeyboardInterrupt()])
def test_a_build_function_may_raise_anything(error: BaseException) -> None:
    def build() -> Any:
        raise error

    (finding,) = check(build).findings
    assert (finding.code, type(error).__name__ in finding.message) == ("RUN001", True)


def test_ctrl_c_is_no_finding() -> None:
    import _thread

    class Slow(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _thread.interrupt_main()
            for _ in range(1000):
                x = x + 0
            return super().forward(x)

    with pytest.raises(KeyboardInterrupt):
        check(setup(Slow()))


def test_what_code_prints_is_shown_once_and_the_rest_is_counted(capfd: pytest.CaptureFixture[str]) -> None:
    class Loud(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            print("x" * 1000)
            return super().forward(x)

    (result,) = check(setup(Loud())).results
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("x" * 1000) <= 2
    (said,) = [text for text in result.assumptions if "prints" in text]
    assert "kB of later passes were dropped" in said


def test_what_stands_for_a_stream_is_a_stream_like_any_other(capfd: pytest.CaptureFixture[str]) -> None:
    class Printing(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
                assert stream.encoding
                stream.isatty()
                stream.fileno()
                stream.buffer.write(b"bytes")
            return super().forward(x)

    assert [finding.code for finding in check(setup(Printing())).findings] == []
    out, err = capfd.readouterr()
    assert (out, "bytes" in err) == ("", True)
    with Printed().during_pass():
        sys.stdout.close()
    assert not sys.stdout.closed


def test_a_static_check_skips_what_shapes_alone_cannot_run() -> None:
    class Tagged(torch.Tensor):
        pass

    class Subclass(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.as_subclass(Tagged) * 1.0)

    report = check(setup(Subclass()), static=True)
    assert [finding.code for finding in report.findings] == []
    assert any("run without --static" in skipped.reason for skipped in report.skipped)


def test_a_static_check_reports_a_forward_that_is_not_implemented() -> None:
    report = check(setup(Raises(NotImplementedError("later"))), static=True)
    assert [finding.code for finding in report.findings] == ["RUN002"]


def test_memory_that_is_refused_is_named() -> None:
    class Large(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + torch.zeros(1 << 60)[:3]

    (finding,) = [found for found in check(setup(Large())).findings if found.code == "RUN002"]
    assert "--memory-limit" in finding.fix


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_batch_with_the_wrong_targets_is_one_failure() -> None:
    given = {**setup(Net()), "inputs": torch.nested.nested_tensor([torch.randn(3, 4), torch.randn(5, 4)])}
    assert not {"RUN007", "RUN008"} & {finding.code for finding in check(given).findings}
