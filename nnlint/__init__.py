"""nnlint: the model-health linter for PyTorch.

The public names are imported when they are first used: `import nnlint` does not import torch, so that the command line
shows its help without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nnlint._version import __version__

# Not lazily: loading the module of the same name binds `nnlint.rule` to the module, and this binding has to come after.
from nnlint.rule import rule

if TYPE_CHECKING:
    from nnlint.api import check
    from nnlint.capture.graph import Graph, LossCall, Op
    from nnlint.failure import Failures
    from nnlint.finding import Finding, Level, Location, Place, Skip
    from nnlint.options import Options
    from nnlint.probes.given.batch import Batch
    from nnlint.probes.given.declared import Declared
    from nnlint.probes.given.model import Model
    from nnlint.probes.given.optimizer import Optimizer
    from nnlint.probes.given.parameters import Parameters
    from nnlint.probes.training_pass.losses import LossCalls, MeasuredLoss
    from nnlint.probes.training_pass.stats import BackwardStats, ForwardStats, LayerStats
    from nnlint.report import FindingsError, Report
    from nnlint.setup.training_setup import TrainingSetup

_HOMES = {
    "check": "nnlint.api",
    "Graph": "nnlint.capture.graph",
    "LossCall": "nnlint.capture.graph",
    "Op": "nnlint.capture.graph",
    "Failures": "nnlint.failure",
    "Finding": "nnlint.finding",
    "Level": "nnlint.finding",
    "Location": "nnlint.finding",
    "Place": "nnlint.finding",
    "Skip": "nnlint.finding",
    "Batch": "nnlint.probes.given.batch",
    "LossCalls": "nnlint.probes.training_pass.losses",
    "MeasuredLoss": "nnlint.probes.training_pass.losses",
    "Model": "nnlint.probes.given.model",
    "Optimizer": "nnlint.probes.given.optimizer",
    "Parameters": "nnlint.probes.given.parameters",
    "Declared": "nnlint.probes.given.declared",
    "BackwardStats": "nnlint.probes.training_pass.stats",
    "ForwardStats": "nnlint.probes.training_pass.stats",
    "LayerStats": "nnlint.probes.training_pass.stats",
    "FindingsError": "nnlint.report",
    "Report": "nnlint.report",
    "Options": "nnlint.options",
    "TrainingSetup": "nnlint.setup.training_setup",
}

__all__ = [
    "BackwardStats",
    "Batch",
    "Declared",
    "Failures",
    "Finding",
    "FindingsError",
    "ForwardStats",
    "Graph",
    "LayerStats",
    "Level",
    "Location",
    "LossCall",
    "LossCalls",
    "MeasuredLoss",
    "Model",
    "Op",
    "Optimizer",
    "Options",
    "Parameters",
    "Place",
    "Report",
    "Skip",
    "TrainingSetup",
    "__version__",
    "check",
    "rule",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'nnlint' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
