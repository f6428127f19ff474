"""Losses by name, and targets made up for a loss that came without any."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from nnlint.setup.errors import SetupError
from nnlint.setup.inputs.fake_run import Trial
from nnlint.setup.options import SetupOptions
from nnlint.setup.training_setup import TrainingSetup, accepts_single_argument
from nnlint.tensors import summary, tensors_in

_FUNCTIONS: Mapping[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": functional.cross_entropy,
    "bce": functional.binary_cross_entropy,
    "bce_with_logits": functional.binary_cross_entropy_with_logits,
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "nll": functional.nll_loss,
    "smooth_l1": functional.smooth_l1_loss,
    "huber": functional.huber_loss,
}

#: The kind of targets each torch loss takes.
_TARGETS = {
    "cross_entropy": "classes",
    "nll_loss": "classes",
    "multi_margin_loss": "classes",
    "binary_cross_entropy": "zero-one",
    "binary_cross_entropy_with_logits": "zero-one",
    "multilabel_soft_margin_loss": "zero-one",
    "mse_loss": "numbers",
    "l1_loss": "numbers",
    "smooth_l1_loss": "numbers",
    "huber_loss": "numbers",
}


@dataclass(frozen=True)
class NamedLoss:
    """A loss of torch, applied to the prediction wherever it is in the model's output."""

    name: str

    @property
    def __name__(self) -> str:
        """The name, as a function has one."""
        return self.name

    def __call__(self, output: Any, targets: Any) -> torch.Tensor:
        """The loss of the prediction in `output`."""
        prediction = prediction_of(output)
        classes_last = prediction.dim() > 2 and prediction.shape[:-1] == targets.shape
        if self.name in ("cross_entropy", "nll") and classes_last and not targets.is_floating_point():
            # Language models put the classes last, torch's classification losses want them second.
            prediction, targets = prediction.flatten(0, -2), targets.flatten()
        return _FUNCTIONS[self.name](prediction, targets)


def prediction_of(output: Any) -> torch.Tensor:
    """The tensor a loss is about: the output itself, its `logits`, or the first tensor in it.

    Raises:
        SetupError: RUN003, when there is no tensor in the output.
    """
    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    found = logits if isinstance(logits, torch.Tensor) else next(tensors_in(output), None)
    if found is None:
        raise SetupError("RUN003", f"the model's output holds no tensor to compute a loss from: {summary(output)}")
    return found


def named_loss(name: str) -> NamedLoss:
    """The loss of this `--loss` name.

    Raises:
        SetupError: RUN001, with the nearest names, for an unknown one.
    """
    if name not in _FUNCTIONS:
        near = difflib.get_close_matches(name, _FUNCTIONS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join(_FUNCTIONS)
        fix = f"write one of {known}, or module:attribute of a callable"
        raise SetupError("RUN001", f"unknown loss {name!r}{hint}", fix=fix)
    return NamedLoss(name)


def assume_targets(setup: TrainingSetup, options: SetupOptions) -> TrainingSetup:
    """`setup` with targets its loss accepts, if it has a loss and inputs but no targets; else as it is.

    Which targets a loss takes is seen from the torch losses that it calls when it is tried on a fake output.
    """
    if setup.loss is None or setup.inputs is None or setup.targets is not None or setup.own_loss is not None:
        return setup
    if accepts_single_argument(setup.loss):
        return setup
    try:
        trial = Trial(setup.model)
    except Exception as error:
        return setup.with_assumption(f"no targets could be made up: a copy of the model raised {type(error).__name__}")
    outcome = trial.run(setup.inputs)
    if not outcome.succeeded or next(tensors_in(outcome.output), None) is None:
        return setup
    classes = options.classes or setup.num_classes
    generator = torch.Generator().manual_seed(options.seed)
    for kind in _kinds(setup, trial, outcome.output, classes):
        for targets in _targets(kind, prediction_of(outcome.output), classes, generator):
            if trial.loss(setup.loss, outcome.output, targets).succeeded:
                text = f"targets are made up ({summary(targets)}): {_WORDS[kind]} of the shape the loss takes"
                return setup.with_assumption(text, targets=targets, targets_assumed=True)
    return setup


_WORDS = {"classes": "random class indices", "zero-one": "random zeros and ones", "numbers": "standard normal noise"}


class _Watch(TorchFunctionMode):
    """Notes which losses of torch are called, also by a call that then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _TARGETS:
            self.called.append(name)
        return func(*args, **(kwargs or {}))


def _kinds(setup: TrainingSetup, trial: Trial, output: Any, classes: int | None) -> list[str]:
    """The kinds of targets to try, the one of the loss that was seen called first."""
    prediction = prediction_of(output)
    generator = torch.Generator().manual_seed(0)
    watch = _Watch()
    for kind in ("classes", "zero-one"):
        for targets in _targets(kind, prediction, classes, generator):
            with watch:
                trial.loss(setup.loss, output, targets)
    seen = [_TARGETS[name] for name in watch.called]
    single = prediction.dim() == 0 or prediction.shape[-1] == 1
    unseen = ["numbers", "zero-one", "classes"] if single else ["classes", "zero-one", "numbers"]
    return seen[:1] or unseen


def _targets(
    kind: str, prediction: torch.Tensor, classes: int | None, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    shape, device = tuple(prediction.shape), prediction.device
    if kind == "numbers":
        yield torch.randn(shape, generator=generator).to(device)
    elif kind == "zero-one":
        yield torch.randint(0, 2, shape, generator=generator).float().to(device)
    elif len(shape) > 1:
        for dim in _class_dims(prediction, classes):
            count = min(classes or shape[dim], shape[dim])
            rest = shape[:dim] + shape[dim + 1 :]
            yield torch.randint(0, count, rest, generator=generator).to(device)


def _class_dims(prediction: torch.Tensor, classes: int | None) -> list[int]:
    """Where the classes are in a prediction: second, as torch's losses want them, or last, as language models do."""
    last = prediction.dim() - 1
    dims = [1] if last == 1 else ([last, 1] if last == 2 else [1, last])
    matching = [dim for dim in dims if prediction.shape[dim] == classes]
    return matching or dims
