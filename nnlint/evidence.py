"""The one table of evidence: what a rule may ask for, what it costs, and which function provides it.

A new probe is one file and one row here: the file holds the evidence type and a function `provide(session)` that measures it or
raises `Skip`; the row names both. Nothing is imported before a rule asks for it, so that `nnlint rules` and `nnlint explain`
answer without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

#: What each word of the column `cost` stands for, cheapest first: the engine measures in this order.
COSTS = ("read", "training pass", "evaluation", "dependence", "updates", "longer")


@dataclass(frozen=True)
class Source:
    """One kind of evidence and how it is had.

    Attributes:
        name: of the type, as a rule's parameter is annotated.
        need: the catalogue's word for it; empty for what other evidence is made of and no rule may ask for.
        home: module of the type, under `nnlint`.
        provider: `module:function`, under `nnlint`; the function gets the session. Empty where the engine makes the evidence itself.
        cost: one of `COSTS`. Cheaper evidence is measured first, so that a time budget never costs it.
        probe: name for `--probe`, for evidence that only `--deep` measures otherwise.
        shown: properties that the report shows beside the fields of the type.
        parts: further public types, importable from `nnlint` like the evidence: of the same module, or written `module:Type`.
    """

    name: str
    need: str
    home: str
    provider: str
    cost: str
    probe: str = ""
    shown: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """Position of the cost in `COSTS`."""
        return COSTS.index(self.cost)

    def load(self) -> Callable[[Any], Any]:
        """The provider function, imported now."""
        module, function = self.provider.split(":")
        found: Callable[[Any], Any] = getattr(import_module(f"nnlint.{module}"), function)
        return found


_GIVEN = "probes.given"
_RUN = "probes.training_pass"
_LONGER = "probes.longer"
_OBSERVED = "observation.observed"
_EVENTS = (
    "Backward", "Clear", "Clip", "Event", "Forward", "Leaf", "Made", "Mode", "ScalerCall", "Schedule", "Seed",
    "StateKept", "Step", "Term", "Update",
)  # fmt: skip
_FACTS = (
    "End", "GroupFacts", "LoaderFacts", "ModuleFacts", "OptimizerFacts", "ParameterFacts", "ScalerFacts", "SchedulerFacts",
)  # fmt: skip

_AXES = (
    "answers:Along", "answers:Contraction", "answers:OpAxes", "answers:Picked", "answers:Selection", "answers:Steps",
    "axis:Axis", "axis:Digit", "axis:Dim", "flow:AxisFlow", "regroup:Cut",
)  # fmt: skip

_ROWS = (
    Source(
        "Model",
        "params",
        f"{_GIVEN}.model",
        f"{_GIVEN}.model:provide",
        "read",
        parts=("ModuleView", "setup.target.checkpoint:LoadedWeights"),
    ),
    Source(
        "Parameters",
        "params",
        f"{_GIVEN}.parameters",
        f"{_GIVEN}.parameters:provide",
        "read",
        parts=(f"{_GIVEN}.parameter_view:ParameterView",),
    ),
    Source("Batch", "batch", f"{_GIVEN}.batch", f"{_GIVEN}.batch:provide", "read", parts=("BatchTensor",)),
    Source(
        "Optimizer",
        "optim",
        f"{_GIVEN}.optimizer",
        f"{_GIVEN}.optimizer:provide",
        "read",
        parts=("ParameterGroup", "ScheduleInfo"),
    ),
    Source("TrainingModes", "params", f"{_GIVEN}.modes", f"{_GIVEN}.modes:provide", "read"),
    Source("Declared", "setup", f"{_GIVEN}.declared", f"{_GIVEN}.declared:provide", "read"),
    Source(
        "Events",
        "events",
        "observation.log",
        f"{_OBSERVED}:unobserved",
        "read",
        parts=(
            *(f"observation.reads:{name}" for name in ("Pass", "Read")),
            *(f"observation.events:{name}" for name in _EVENTS),
            *(f"observation.facts:{name}" for name in _FACTS),
        ),
    ),
    Source("Loaders", "loaders", "observation.log", f"{_OBSERVED}:unobserved", "read"),
    Source("Ranks", "ranks", "observation.log", f"{_OBSERVED}:unobserved", "read"),
    Source("Failures", "run", "failure", "", "read"),
    Source("TrainingPass", "", f"{_RUN}.run", f"{_RUN}.provide:training_pass", "training pass"),
    Source(
        "Graph",
        "graph",
        "capture.graph",
        f"{_RUN}.provide:graph",
        "training pass",
        parts=(
            "capture.op:Op",
            "capture.facts:UnregisteredModule",
            "capture.loss_call:LossCall",
            *(f"capture.axes.{part}" for part in _AXES),
        ),
    ),
    Source("RefusedLookup", "run", "capture.lookups", f"{_RUN}.provide:refused_lookup", "training pass"),
    Source("RefusedNorm", "run", "capture.refused_norms", f"{_RUN}.provide:refused_norm", "training pass"),
    Source("LossCalls", "loss", f"{_RUN}.losses", f"{_RUN}.provide:losses", "training pass", parts=("MeasuredLoss",)),
    Source(
        "ForwardStats",
        "fwd",
        f"{_RUN}.stats",
        f"{_RUN}.provide:forward",
        "training pass",
        parts=("LayerStats", "NonFinite", "NonFiniteGradient"),
    ),
    Source("BackwardStats", "bwd", f"{_RUN}.stats", f"{_RUN}.provide:backward", "training pass"),
    Source(
        "EvalStats",
        "eval",
        "probes.evaluation.stats",
        "probes.evaluation.stats:provide",
        "evaluation",
        parts=("NonFiniteEvaluation", "Randomness"),
    ),
    Source(
        "LossResponse",
        "loss",
        "probes.loss_response.stats",
        "probes.loss_response.provide:provide",
        "evaluation",
        parts=("Preference", "Certainty", "Fall", "FlippedTerm", "Togetherness"),
    ),
    Source(
        "LossTerms",
        "loss",
        "probes.loss_terms.stats",
        "probes.loss_terms.probe:provide",
        "evaluation",
        parts=("LossTerm", "SelfComparison", "TargetPath"),
    ),
    Source(
        "FewerSamples",
        "graph",
        "probes.evaluation.fewer_samples",
        "probes.evaluation.fewer_samples:provide",
        "evaluation",
    ),
    Source(
        "InputScaling",
        "batch",
        "probes.evaluation.input_scaling",
        "probes.evaluation.input_scaling:provide",
        "evaluation",
        parts=("ScaledInput",),
    ),
    Source("EvalCalls", "eval", "probes.evaluation.calls", "probes.evaluation.calls:provide", "evaluation"),
    Source(
        "Mixing",
        "mix",
        "probes.dependence.samples",
        "probes.dependence.samples:provide",
        "dependence",
        parts=(
            "SampleMixing",
            "probes.dependence.inputs:IgnoredFeatures",
            "probes.dependence.inputs:InputInfluence",
            "probes.dependence.positions:OrderInfluence",
        ),
    ),
    Source(
        "PaddingStats",
        "padding",
        "probes.dependence.padding",
        "probes.dependence.padding:provide",
        "dependence",
        parts=(
            "PaddingRead",
            "probes.dependence.padded:PaddedSequence",
            "probes.dependence.padding_loss:PaddingInLoss",
        ),
    ),
    Source(
        "SequenceLabels",
        "labels",
        "probes.dependence.labels",
        "probes.dependence.labels:provide",
        "dependence",
        parts=("CopiedLabels",),
    ),
    Source(
        "StepStats",
        "steps",
        "probes.updates.stats",
        "probes.updates.run:provide",
        "updates",
        parts=("TrackedParameter",),
    ),
    Source(
        "BlockedGradients",
        "steps",
        "probes.updates.blocked",
        "probes.updates.blocked:provide",
        "updates",
        parts=("BlockedParameter", "GradientEnd"),
    ),
    Source("Trials", "steps", "probes.updates.trials", "probes.updates.trials:provide", "updates", parts=("Trial",)),
    Source("GradientCheck", "deep", f"{_LONGER}.gradcheck", f"{_LONGER}.gradcheck:provide", "longer", "gradcheck"),
    Source(
        "PrecisionStats",
        "deep",
        f"{_LONGER}.precision",
        f"{_LONGER}.precision:provide",
        "longer",
        "precision",
        parts=("LayerPrecision", "PrecisionFailure"),
    ),
    Source(
        "OverfitRun",
        "deep",
        f"{_LONGER}.overfit",
        f"{_LONGER}.overfit:provide",
        "longer",
        "overfit",
        ("steps", "in_words"),
    ),
    Source(
        "LearningRateRange",
        "deep",
        f"{_LONGER}.lr_range",
        f"{_LONGER}.lr_range:provide",
        "longer",
        "lr-range",
        ("interval", "suggestion", "minimum_diverged", "position", "steps_to_move"),
    ),
    Source(
        "InputDependence",
        "deep",
        f"{_LONGER}.input_dependence",
        f"{_LONGER}.input_dependence:provide",
        "longer",
        "input-dependence",
    ),
    Source(
        "ValidationGap",
        "deep",
        f"{_LONGER}.validation_gap",
        f"{_LONGER}.validation_gap:provide",
        "longer",
        "validation",
    ),
)

#: Every kind of evidence by the name of its type.
TABLE: Mapping[str, Source] = MappingProxyType({row.name: row for row in _ROWS})

#: What a rule may ask for, and the catalogue's word for the need.
NEEDS: Mapping[str, str] = MappingProxyType({row.name: row.need for row in _ROWS if row.need})

#: Evidence that only `nnlint run` has: a rule that requires any of it is no part of a check unless it is selected by name.
OBSERVED = frozenset({"Events", "Loaders", "Ranks"})

#: The longer probes by their names for `--probe`, and the evidence each stands for.
PROBES: Mapping[str, str] = MappingProxyType({row.probe: row.name for row in _ROWS if row.probe})

#: Home module of every public name that comes with the evidence; `nnlint` exports them.
HOMES: Mapping[str, str] = MappingProxyType(
    {
        part.rpartition(":")[2]: f"nnlint.{part.rpartition(':')[0] or row.home}"
        for row in _ROWS
        if row.need
        for part in (row.name, *row.parts)
    }
)


def runs_by_default(names: Iterable[str]) -> bool:
    """Whether all of this evidence is had without `--deep` and `--probe`."""
    return not any(TABLE[name].probe for name in names)


def cost_of(names: Iterable[str]) -> tuple[int, int]:
    """What the dearest of these kinds of evidence costs: its rank, and among equals its position in the table."""
    positions = {row.name: position for position, row in enumerate(_ROWS)}
    return max(((TABLE[name].rank, positions[name]) for name in names), default=(0, 0))
