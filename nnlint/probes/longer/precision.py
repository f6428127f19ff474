"""The forward and the loss in mixed precision against float32, op by op."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from nnlint.capture.graph import Graph
from nnlint.capture.recorder import Recorder
from nnlint.evidence import TABLE
from nnlint.finding import Location, Skip
from nnlint.frames import location_of_exception
from nnlint.probes.longer.autocast import lowered
from nnlint.probes.torch_errors import one_line
from nnlint.probes.training_pass.reruns import without_dropout
from nnlint.seeding import seed_everything
from nnlint.setup.inputs.names import named_inputs

if TYPE_CHECKING:
    from nnlint.guard.state_guard import StateGuard
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
_SAMPLED = 4096
#: From here on a value is that of an attention mask, or beyond float16.
_MASKED = 6e4


@dataclass(frozen=True)
class LayerPrecision:
    """One op's output in a lower precision against float32.

    Attributes:
        overflows: it holds NaN or Inf where float32 has numbers.
        after_noise: something random lies before it, which need not draw the same in both precisions.
    """

    label: str
    module_path: str
    location: Location | None
    relative_error: float
    abs_max: float
    overflows: bool
    after_noise: bool = False


@dataclass(frozen=True)
class PrecisionFailure:
    """The forward or the loss raises in the lower precision and not in float32.

    Attributes:
        label: of the op that raised.
        error: the exception in one line.
        value_range: whether a number did not fit into the lower precision.
    """

    label: str
    module_path: str
    location: Location | None
    error: str
    value_range: bool


@dataclass(frozen=True)
class PrecisionStats:
    """The forward and the loss in mixed precision against float32.

    Attributes:
        precision: "bf16" or "fp16"; empty where no lower precision is declared and nothing was run.
        layers: ops whose outputs could be paired.
        failure: what raised; the layers are those before it.
    """

    precision: str
    layers: tuple[LayerPrecision, ...] = ()
    failure: PrecisionFailure | None = None

    @property
    def overflowing(self) -> tuple[LayerPrecision, ...]:
        """Layers with infinities or NaN that float32 does not have."""
        return tuple(layer for layer in self.layers if layer.overflows)


@dataclass(frozen=True)
class _Output:
    """Of one floating output: evenly spaced values in double precision, its largest magnitude, whether NaN or +Inf is in it."""

    node: fx.Node
    sample: torch.Tensor
    largest: float
    broken: bool


class _Outputs:
    """Keeps every floating output of a run."""

    def __init__(self) -> None:
        self.found: list[_Output] = []

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not output.is_floating_point() or not output.numel() or output.layout is not torch.strided:
            return
        flat = output.detach().reshape(-1)
        sample = flat[:: max(flat.numel() // _SAMPLED, 1)].double().clone()
        # The largest magnitude is NaN or inf where any value is; -inf alone is an attention mask.
        largest = float(flat.abs().amax())
        broken = not math.isfinite(largest) and bool((torch.isnan(flat) | (flat == math.inf)).any())
        self.found.append(_Output(node, sample, largest, broken))


@dataclass(frozen=True)
class _Run:
    """One forward with its loss: what it gave until it ended, or until it raised."""

    outputs: list[_Output]
    graph: Graph
    error: Exception | None
    module: str
    refused: str


def provide(session: Session) -> PrecisionStats:
    """Run the probe where a lower precision is declared, or where it is asked for.

    Raises:
        Skip: it cannot run.
    """
    precision = session.setup.precision
    asked = TABLE["PrecisionStats"].probe in session.plan.probes
    if precision is None and not asked:
        return PrecisionStats("")
    session.evidence("ForwardStats")  # what raises in float32 is no matter of precision
    found: PrecisionStats = session.measure(
        "precision probe",
        lambda: run_precision(session.setup, session.guard, seed=session.plan.seed, precision=precision or "bf16"),
    )
    return found


def run_precision(setup: TrainingSetup, guard: StateGuard, *, seed: int, precision: str) -> PrecisionStats:
    """Compare one training-mode forward with its loss in both precisions, dropout off; the caller holds the guard.

    Raises:
        Skip: the same run raised in float32.
    """
    exact = _forward(setup, seed=seed, dtype=None)
    guard.rewind()
    if exact.error is not None:
        raise Skip(f"a second forward raised: {one_line(exact.error)}")
    rough = _forward(setup, seed=seed, dtype=_DTYPES[precision])
    guard.rewind()
    layers = tuple(_paired(exact, rough))
    failure = _failure(exact, rough, rough.error) if rough.error is not None else None
    return PrecisionStats(precision, layers, failure)


def _paired(exact: _Run, rough: _Run) -> Iterator[LayerPrecision]:
    noisy = False
    for one, other in zip(exact.outputs, rough.outputs, strict=False):
        if one.node.meta["name"] != other.node.meta["name"] or one.sample.shape != other.sample.shape:
            return  # the lower precision took another path: what follows cannot be paired
        op = exact.graph.of(one.node)
        noisy = noisy or op.is_kind("random")
        lost = other.broken if math.isfinite(one.largest) is False else not math.isfinite(other.largest)
        error = _error(one.sample, other.sample)
        yield LayerPrecision(
            op.label, op.module_path, op.location, error, one.largest, lost and not one.broken, after_noise=noisy
        )


def _failure(exact: _Run, rough: _Run, error: Exception) -> PrecisionFailure:
    """What raised: the op of the run in float32 on the line of the exception, after those that the lower precision passed."""
    place = location_of_exception(error, below=_drive.__code__)
    passed = len(rough.outputs)
    later = [exact.graph.of(output.node) for output in exact.outputs[passed:]]
    op = next((op for op in later if op.name == rough.refused and (place is None or op.location == place)), None)
    where = rough.module or (place.function if place is not None else None) or "the loss"
    return PrecisionFailure(
        label=op.label if op is not None else f"{rough.refused} in {where}",
        module_path=rough.module,
        location=place or (op.location if op is not None else None),
        error=one_line(error),
        value_range="without overflow" in str(error),
    )


def _forward(setup: TrainingSetup, *, seed: int, dtype: torch.dtype | None) -> _Run:
    if not setup.model.training:
        setup.model.train()
    seed_everything(seed)
    outputs = _Outputs()
    extra = [setup.loss] if isinstance(setup.loss, nn.Module) else []
    recorder = Recorder(setup.model, extra=extra, stop=_drive.__code__, observer=outputs, substitute=without_dropout)
    recorder.add_inputs(named_inputs(setup))
    output, error = _drive(setup, recorder, dtype)
    failed = recorder.tracker.failure
    recorder.finish(output)
    graph = Graph(recorder.graph, method="recorded", constructions=dict(setup.construction))
    return _Run(outputs.found, graph, error, failed.path if failed is not None else "", recorder.refused)


def _drive(setup: TrainingSetup, recorder: Recorder, dtype: torch.dtype | None) -> tuple[Any, Exception | None]:
    """Forward and loss in this precision. User frames are searched for below this function."""
    device = next((parameter.device.type for parameter in setup.model.parameters()), "cpu")
    output = None
    # float16 is trained on a GPU, where autocast refuses a loss that a CPU computes.
    refuses = dtype is torch.float16 and setup.loss is None
    context = lowered(dtype, device, refuses=refuses) if dtype is not None else nullcontext()
    try:
        with torch.no_grad(), context, recorder.recording():
            if setup.own_loss is not None:
                setup.call_own_loss()
            else:
                output = setup.call_model()
                recorder.enter_loss()
                setup.compute_loss(output)
    except Exception as error:
        return output, error
    return output, None


def _error(exact: torch.Tensor, rough: torch.Tensor) -> float:
    """Norm of the difference over the norm, of the values that are numbers in both; the values of a mask are none to compare."""
    both = (exact.abs() < _MASKED) & (rough.abs() < _MASKED)
    scale = float(exact[both].norm())
    return float((exact[both] - rough[both]).norm()) / scale if scale > 0 else 0.0
