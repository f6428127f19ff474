"""Under which circumstances a run was recorded: what a rule must know before it trusts what the run did not show."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from nnlint.capture.facts import RunFacts

if TYPE_CHECKING:
    from torch import nn

    from nnlint.capture.recorder import Recorder
    from nnlint.setup.training_setup import TrainingSetup


def run_facts(setup: TrainingSetup, recorder: Recorder) -> RunFacts:
    """The facts of a run of `setup` that `recorder` followed."""
    return RunFacts(
        unregistered=recorder.tracker.unregistered_modules(setup.model),
        modified_inputs=tuple(recorder.modified_inputs()),
        inputs_assumed=setup.inputs_assumed,
        targets_assumed=setup.targets_assumed,
        inputs_left_out=tuple(_left_out(setup)),
        library=_is_installed(setup.model),
    )


def _left_out(setup: TrainingSetup) -> Iterator[str]:
    """Parameters of the forward that default to None and got no value."""
    try:
        parameters = list(inspect.signature(setup.model.forward).parameters.values())
    except (TypeError, ValueError):
        return
    inputs = setup.inputs
    given = len(inputs) if isinstance(inputs, tuple) else 0 if isinstance(inputs, Mapping) else 1
    for position, parameter in enumerate(parameters):
        named = isinstance(inputs, Mapping) and parameter.name in inputs
        if parameter.default is None and position >= given and not named:
            yield parameter.name


def _is_installed(model: nn.Module) -> bool:
    """Whether the model's class is defined in an installed package other than torch, not in the user's own files."""
    name = type(model).__module__
    if name.partition(".")[0] == "torch":
        return False
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file
