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
from nnlint.setup.inputs.signature import ForwardSignature
from nnlint.setup.loss_in_output import loss_in_output
from nnlint.setup.options import SetupOptions
from nnlint.setup.training_setup import LABEL_KEYS, TrainingSetup, accepts_single_argument
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


@dataclass(frozen=True)
class LossOfOutput:
    """A loss `loss(output, targets)` that reads no targets: `lambda output, _: output.loss`."""

    function: Callable[..., Any]

    @property
    def __name__(self) -> str:
        """That of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, output: Any) -> Any:
        """What the function gives for the output."""
        return self.function(output, None)


def assume_targets(setup: TrainingSetup, options: SetupOptions) -> TrainingSetup:
    """`setup` with targets its loss accepts, if it has a loss and inputs but no targets; else as it is.

    Which targets a loss takes is seen from the torch losses that it calls when it is tried on a fake output. A loss that reads
    none needs none: one that only takes the model's own loss out of the output stands for that loss.
    """
    if setup.loss is None or setup.inputs is None or setup.own_loss is not None:
        return setup
    if setup.targets is not None:
        return _with_labels_back(setup)
    alone = accepts_single_argument(setup.loss)
    try:
        trial = Trial(setup.model)
    except Exception as error:
        text = f"no targets could be made up: a copy of the model raised {type(error).__name__}"
        return setup if alone else setup.with_assumption(text)
    outcome = trial.run(setup.inputs)
    if not outcome.succeeded or next(tensors_in(outcome.output), None) is None:
        return setup
    needless = _without_targets(setup, trial, outcome.output, alone=alone)
    if alone or needless is not None:
        return needless or setup
    classes = options.classes or setup.num_classes
    generator = torch.Generator().manual_seed(options.seed)
    for kind in _kinds(setup, trial, outcome.output, classes):
        for targets in _targets(kind, prediction_of(outcome.output), classes, generator):
            if trial.loss(setup.loss, outcome.output, targets).succeeded:
                text = f"targets are made up ({summary(targets)}): {_WORDS[kind]} of the shape the loss takes"
                return setup.with_assumption(text, targets=targets, targets_assumed=True)
    return setup


def _without_targets(setup: TrainingSetup, trial: Trial, output: Any, *, alone: bool) -> TrainingSetup | None:
    """`setup` with the model's own loss, or with a loss of the output alone; None where the loss reads targets."""
    assert setup.loss is not None  # seen by the caller
    loss = setup.loss if alone else LossOfOutput(setup.loss)
    found = trial.loss(lambda output, _: loss(output), output, None)
    if not isinstance(found.output, torch.Tensor):
        return None
    own = loss_in_output(output) is found.output
    return setup.model_copy(update={"loss": None if own else loss})


def _with_labels_back(setup: TrainingSetup) -> TrainingSetup:
    """`setup` with the targets among the inputs, where the loss only takes out of the output what the model computed from them."""
    names = ForwardSignature.of(setup.model).names
    key = next((name for name in LABEL_KEYS if name in names), None)
    if key is None or not isinstance(setup.inputs, Mapping) or key in setup.inputs:
        return setup
    inputs = {**setup.inputs, key: setup.targets}
    try:
        trial = Trial(setup.model)
    except Exception:
        return setup
    outcome = trial.run(inputs)
    own = loss_in_output(outcome.output) if outcome.succeeded else None
    if own is None or trial.loss(setup.loss, outcome.output, setup.targets).output is not own:
        return setup
    return setup.model_copy(update={"inputs": inputs, "targets": None, "loss": None})


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
