"""Small models, small batches, and a check of one rule on them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnlint.api import check
from nnlint.capture.facts import RunFacts
from nnlint.capture.graph import Graph
from nnlint.capture.recorder import Recorder

if TYPE_CHECKING:
    from nnlint.report import ReportedFinding, TargetReport

#: Samples and features of the inputs that a check gets where none are given.
_SAMPLES, _FEATURES = 16, 8
#: Given as inputs: the setup has none.
NO_INPUTS: Any = object()


class Net(nn.Module):
    """A module whose forward is `function(self, *inputs)`; the other arguments become its attributes, layers mostly."""

    def __init__(self, function: Callable[..., Any], **attributes: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Whatever the function makes of the inputs."""
        return self.function(self, *inputs, **keywords)


class Mlp(nn.Module):
    """12 features to `outputs` logits through 32 units; `head` is what is done to the logits before they are returned."""

    def __init__(self, outputs: int = 5, head: Callable[[torch.Tensor], Any] | nn.Module | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(12, 32)
        self.fc2 = nn.Linear(32, outputs)
        self.head = head

    def forward(self, x: torch.Tensor) -> Any:
        """The logits, or what the head makes of them."""
        logits = self.fc2(torch.relu(self.fc1(x)))
        return logits if self.head is None else self.head(logits)


def mlp_setup(
    head: Callable[[torch.Tensor], Any] | nn.Module | None,
    loss: Callable[..., Any],
    targets: torch.Tensor | None = None,
    *,
    outputs: int = 5,
    **fields: Any,
) -> dict[str, Any]:
    """A training setup of an `Mlp` on one sample for each target; 40 class labels unless targets are given."""
    torch.manual_seed(0)
    wanted = torch.arange(40) % outputs if targets is None else targets
    model = Mlp(outputs, head)
    return {"model": model, "inputs": torch.randn(len(wanted), 12), "targets": wanted, "loss": loss, **fields}


def images(samples: int = 32, channels: int = 3, size: int = 12) -> torch.Tensor:
    """Seeded standard normal images."""
    return torch.randn(samples, channels, size, size, generator=torch.Generator().manual_seed(1))


def features(samples: int = 64, width: int = 20) -> torch.Tensor:
    """Seeded standard normal features."""
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(1))


def labels(samples: int = 64, classes: int = 5) -> torch.Tensor:
    """Balanced class indices."""
    return torch.arange(samples) % classes


def checked(code: str, case: Any, inputs: Any = None, targets: Any = None, **more: Any) -> TargetReport:
    """The report of a check with one rule.

    Args:
        code: of the rule.
        case: a model, or anything else that `nnlint.check` takes.
        inputs: with a model: its batch, or `NO_INPUTS`; 16 samples of 8 features where none is given.
        targets: with a model: what the loss compares with. Without a `loss` it is the cross-entropy; with a `loss` and
            without targets they are zeros.
        **more: with a model: further fields of the training setup; else settings of the check.

    Raises:
        AssertionError: the check failed (the model raised, say) and the rule did not report it.
    """
    report = _report(code, case, inputs, targets, more)
    if report.status != "ok" and not any(item.code == code for item in report.findings):
        raise AssertionError(f"the check failed: {[item.message for item in report.findings]}")
    return report


def _report(code: str, case: Any, inputs: Any, targets: Any, more: dict[str, Any]) -> TargetReport:
    if isinstance(case, nn.Module):
        (report,) = check(_setup(case, inputs, targets, more), select=[code]).results
    else:
        (report,) = check(case, select=[code], **more).results
    return report


def _setup(model: nn.Module, inputs: Any, targets: Any, fields: dict[str, Any]) -> dict[str, Any]:
    if inputs is None:
        inputs = torch.randn(_SAMPLES, _FEATURES, generator=torch.Generator().manual_seed(0))
    setup = {"model": model, **({} if inputs is NO_INPUTS else {"inputs": inputs}), **fields}
    if targets is not None:
        setup = {"targets": targets, "loss": nn.CrossEntropyLoss(), **setup}
    elif setup.get("loss") is not None:
        setup["targets"] = torch.zeros(_SAMPLES, dtype=torch.long)
    return setup


def findings(code: str, case: Any, inputs: Any = None, targets: Any = None, **more: Any) -> list[ReportedFinding]:
    """The findings of one rule; the arguments are those of `checked`.

    Raises:
        AssertionError: the rule was skipped, or the check failed.
    """
    report = checked(code, case, inputs, targets, **more)
    reasons = [item.reason for item in report.skipped if item.code == code]
    if reasons:
        raise AssertionError(f"{code} was skipped: {reasons[0]}")
    return [item for item in report.findings if item.code == code]


def skipped(code: str, case: Any, inputs: Any = None, targets: Any = None, **more: Any) -> str:
    """The reason for which one rule was skipped, in a check that may have failed; empty when it was evaluated."""
    report = _report(code, case, inputs, targets, more)
    return next((item.reason for item in report.skipped if item.code == code), "")


def levels(code: str, case: Any, inputs: Any = None, targets: Any = None, **more: Any) -> dict[str, str]:
    """Module path -> level of the findings of one rule. The arguments are those of `checked`."""
    return {item.module: item.level.value for item in findings(code, case, inputs, targets, **more)}


def places(found: Iterable[ReportedFinding]) -> list[tuple[str, str]]:
    """Level and module path of each finding."""
    return [(item.level.value, item.module) for item in found]


def recorded(model: nn.Module, *inputs: Any) -> Graph:
    """The graph of one call of a model, as a rule gets it of the training pass, without loss or gradients."""
    recorder = Recorder(model, stop=recorded.__code__)
    recorder.add_inputs(zip(inspect.signature(model.forward).parameters, inputs, strict=False))
    with recorder.recording():
        output = model(*inputs)
    recorder.finish(output)
    first = next((value for value in inputs if isinstance(value, torch.Tensor) and value.dim()), None)
    facts = RunFacts(samples=len(first) if first is not None else 1)
    return Graph(recorder.graph, method="recorded", called_modules=dict(recorder.tracker.calls), facts=facts)
