"""nnlint: the model-health linter for PyTorch.

The public names are imported when they are first used: `import nnlint` does not import torch, so that the command line
shows its help without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nnlint._version import __version__
from nnlint.evidence import HOMES

# Not lazily: loading the module of the same name binds `nnlint.rule` to the module, and this binding has to come after.
from nnlint.rule import rule

if TYPE_CHECKING:
    from nnlint.api import Observing, check, observe
    from nnlint.capture.axes.answers import Along, Contraction, OpAxes, Picked, Selection, Steps
    from nnlint.capture.axes.axis import Axis, Digit, Dim
    from nnlint.capture.axes.flow import AxisFlow
    from nnlint.capture.axes.regroup import Cut
    from nnlint.capture.facts import UnregisteredModule
    from nnlint.capture.graph import Graph
    from nnlint.capture.lookups import RefusedLookup
    from nnlint.capture.loss_call import LossCall
    from nnlint.capture.op import Op
    from nnlint.capture.refused_norms import RefusedNorm
    from nnlint.failure import Failures
    from nnlint.finding import Evidence, Finding, Level, Located, Location, Place, Skip
    from nnlint.integrations.preflight import preflight
    from nnlint.observation.events import (
        Backward,
        Clear,
        Clip,
        Event,
        Forward,
        Leaf,
        Made,
        Mode,
        ScalerCall,
        Schedule,
        Seed,
        StateKept,
        Step,
        Term,
        Update,
    )
    from nnlint.observation.facts import (
        End,
        GroupFacts,
        LoaderFacts,
        ModuleFacts,
        OptimizerFacts,
        ParameterFacts,
        ScalerFacts,
        SchedulerFacts,
    )
    from nnlint.observation.log import Events, Loaders, Ranks
    from nnlint.observation.reads import Pass, Read
    from nnlint.options import Options
    from nnlint.probes.dependence.inputs import IgnoredFeatures, InputInfluence
    from nnlint.probes.dependence.labels import CopiedLabels, SequenceLabels
    from nnlint.probes.dependence.padded import PaddedSequence
    from nnlint.probes.dependence.padding import PaddingRead, PaddingStats
    from nnlint.probes.dependence.padding_loss import PaddingInLoss
    from nnlint.probes.dependence.positions import OrderInfluence
    from nnlint.probes.dependence.samples import Mixing, SampleMixing
    from nnlint.probes.evaluation.calls import EvalCalls
    from nnlint.probes.evaluation.fewer_samples import FewerSamples
    from nnlint.probes.evaluation.input_scaling import InputScaling, ScaledInput
    from nnlint.probes.evaluation.stats import EvalStats, NonFiniteEvaluation, Randomness
    from nnlint.probes.given.batch import Batch, BatchTensor
    from nnlint.probes.given.declared import Declared
    from nnlint.probes.given.model import Model, ModuleView
    from nnlint.probes.given.modes import TrainingModes
    from nnlint.probes.given.optimizer import Optimizer, ParameterGroup, ScheduleInfo
    from nnlint.probes.given.parameter_view import ParameterView
    from nnlint.probes.given.parameters import Parameters
    from nnlint.probes.longer.gradcheck import GradientCheck
    from nnlint.probes.longer.input_dependence import InputDependence
    from nnlint.probes.longer.lr_range import LearningRateRange
    from nnlint.probes.longer.overfit import OverfitRun
    from nnlint.probes.longer.precision import LayerPrecision, PrecisionFailure, PrecisionStats
    from nnlint.probes.longer.validation_gap import ValidationGap
    from nnlint.probes.loss_response.stats import Certainty, Fall, FlippedTerm, LossResponse, Preference, Togetherness
    from nnlint.probes.loss_terms.stats import LossTerm, LossTerms, SelfComparison, TargetPath
    from nnlint.probes.training_pass.losses import LossCalls, MeasuredLoss
    from nnlint.probes.training_pass.stats import BackwardStats, ForwardStats, LayerStats, NonFinite, NonFiniteGradient
    from nnlint.probes.updates.blocked import BlockedGradients, BlockedParameter, GradientEnd
    from nnlint.probes.updates.stats import StepStats, TrackedParameter
    from nnlint.probes.updates.trials import Trial, Trials
    from nnlint.report import FindingsError, Report
    from nnlint.setup.target.checkpoint import LoadedWeights
    from nnlint.setup.training_setup import TrainingSetup

#: Where the public names live; those of the evidence are in its table.
_HOMES = {
    "check": "nnlint.api",
    "observe": "nnlint.api",
    "Observing": "nnlint.api",
    "preflight": "nnlint.integrations.preflight",
    "Evidence": "nnlint.finding",
    "Finding": "nnlint.finding",
    "Level": "nnlint.finding",
    "Located": "nnlint.finding",
    "Location": "nnlint.finding",
    "Place": "nnlint.finding",
    "Skip": "nnlint.finding",
    "FindingsError": "nnlint.report",
    "Report": "nnlint.report",
    "Options": "nnlint.options",
    "TrainingSetup": "nnlint.setup.training_setup",
    **HOMES,
}

__all__ = [
    "Along",
    "Axis",
    "AxisFlow",
    "Backward",
    "BackwardStats",
    "Batch",
    "BatchTensor",
    "BlockedGradients",
    "BlockedParameter",
    "Certainty",
    "Clear",
    "Clip",
    "Contraction",
    "CopiedLabels",
    "Cut",
    "Declared",
    "Digit",
    "Dim",
    "End",
    "EvalCalls",
    "EvalStats",
    "Event",
    "Events",
    "Evidence",
    "Failures",
    "Fall",
    "FewerSamples",
    "Finding",
    "FindingsError",
    "FlippedTerm",
    "Forward",
    "ForwardStats",
    "GradientCheck",
    "GradientEnd",
    "Graph",
    "GroupFacts",
    "IgnoredFeatures",
    "InputDependence",
    "InputInfluence",
    "InputScaling",
    "LayerPrecision",
    "LayerStats",
    "Leaf",
    "LearningRateRange",
    "Level",
    "LoadedWeights",
    "LoaderFacts",
    "Loaders",
    "Located",
    "Location",
    "LossCall",
    "LossCalls",
    "LossResponse",
    "LossTerm",
    "LossTerms",
    "Made",
    "MeasuredLoss",
    "Mixing",
    "Mode",
    "Model",
    "ModuleFacts",
    "ModuleView",
    "NonFinite",
    "NonFiniteEvaluation",
    "NonFiniteGradient",
    "Observing",
    "Op",
    "OpAxes",
    "Optimizer",
    "OptimizerFacts",
    "Options",
    "OrderInfluence",
    "OverfitRun",
    "PaddedSequence",
    "PaddingInLoss",
    "PaddingRead",
    "PaddingStats",
    "ParameterFacts",
    "ParameterGroup",
    "ParameterView",
    "Parameters",
    "Pass",
    "Picked",
    "Place",
    "PrecisionFailure",
    "PrecisionStats",
    "Preference",
    "Randomness",
    "Ranks",
    "Read",
    "RefusedLookup",
    "RefusedNorm",
    "Report",
    "SampleMixing",
    "ScaledInput",
    "ScalerCall",
    "ScalerFacts",
    "Schedule",
    "ScheduleInfo",
    "SchedulerFacts",
    "Seed",
    "Selection",
    "SelfComparison",
    "SequenceLabels",
    "Skip",
    "StateKept",
    "Step",
    "StepStats",
    "Steps",
    "TargetPath",
    "Term",
    "Togetherness",
    "TrackedParameter",
    "TrainingModes",
    "TrainingSetup",
    "Trial",
    "Trials",
    "UnregisteredModule",
    "Update",
    "ValidationGap",
    "__version__",
    "check",
    "observe",
    "preflight",
    "rule",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'nnlint' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def load_ipython_extension(shell: object) -> None:
    """`%load_ext nnlint`: the cell magic `%%nnlint`."""
    from nnlint.integrations.notebook import load

    load(shell)


def __dir__() -> list[str]:
    return sorted(__all__)
