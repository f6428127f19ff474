"""The forward under autocast against float32, op by op."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from nnlint.capture.graph import Graph
from nnlint.capture.recorder import Recorder
from nnlint.finding import Location, Skip
from nnlint.probes.longer.effort import LongerProbe
from nnlint.probes.training_pass.run import named_inputs
from nnlint.seeding import seed_everything

if TYPE_CHECKING:
    from nnlint.guard.state_guard import StateGuard
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
_SAMPLED = 4096


@dataclass(frozen=True)
class LayerPrecision:
    """One op's output in a lower precision against float32."""

    label: str
    module_path: str
    location: Location | None
    relative_error: float
    abs_max: float
    overflows: bool


@dataclass(frozen=True)
class PrecisionStats:
    """The forward under autocast against float32.

    Attributes:
        precision: "bf16" or "fp16".
        layers: ops whose outputs could be paired.
    """

    precision: str
    layers: tuple[LayerPrecision, ...]

    @property
    def overflowing(self) -> tuple[LayerPrecision, ...]:
        """Layers with infinities that float32 does not have."""
        return tuple(layer for layer in self.layers if layer.overflows)


class _Outputs:
    """Keeps of every floating output evenly spaced values in double precision, its largest magnitude, and whether it is broken."""

    def __init__(self) -> None:
        self.found: list[tuple[fx.Node, torch.Tensor, float, bool]] = []

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not output.is_floating_point() or not output.numel() or output.layout is not torch.strided:
            return
        flat = output.detach().reshape(-1)
        sample = flat[:: max(flat.numel() // _SAMPLED, 1)].double().clone()
        # The largest magnitude is NaN or inf where any value is; -inf alone is an attention mask.
        largest = float(flat.abs().amax())
        broken = not math.isfinite(largest) and bool((torch.isnan(flat) | (flat == math.inf)).any())
        self.found.append((node, sample, largest, broken))


def provide(session: Session) -> PrecisionStats:
    """Run the probe.

    Raises:
        Skip: not asked for, or it cannot run.
    """
    probe = LongerProbe(session, "PrecisionStats")
    precision = session.setup.precision
    if precision is None and probe.name not in session.plan.probes:
        raise Skip("no mixed precision declared")
    seed = session.plan.seed
    found: PrecisionStats = probe.run(
        lambda: run_precision(session.setup, session.guard, seed=seed, precision=precision or "bf16")
    )
    return found


def run_precision(setup: TrainingSetup, guard: StateGuard, *, seed: int, precision: str) -> PrecisionStats:
    """Compare one training-mode forward in both precisions; the caller holds the guard.

    Raises:
        Skip: the forward raised under autocast.
    """
    plain, graph = _forward(setup, seed=seed, dtype=None)
    guard.rewind()
    lowered, _ = _forward(setup, seed=seed, dtype=_DTYPES[precision])
    guard.rewind()
    layers = []
    for (node, exact, largest, broken), (twin, rough, _, broken_too) in zip(plain, lowered, strict=False):
        if node.meta["name"] != twin.meta["name"] or exact.shape != rough.shape:
            break  # the lower precision took another path: what follows cannot be paired
        op = graph.of(node)
        layer = (op.label, op.module_path, op.location, _error(exact, rough), largest, broken_too and not broken)
        layers.append(LayerPrecision(*layer))
    return PrecisionStats(precision, tuple(layers))


def _forward(
    setup: TrainingSetup, *, seed: int, dtype: torch.dtype | None
) -> tuple[list[tuple[fx.Node, torch.Tensor, float, bool]], Graph]:
    setup.model.train()
    seed_everything(seed)
    outputs = _Outputs()
    recorder = Recorder(setup.model, stop=_forward.__code__, observer=outputs)
    recorder.add_inputs(named_inputs(setup))
    device = next((parameter.device.type for parameter in setup.model.parameters()), "cpu")
    try:
        with (
            torch.no_grad(),
            torch.autocast(device, dtype=dtype or torch.bfloat16, enabled=dtype is not None),
            recorder.recording(),
        ):
            output, _ = setup.run()
    except Exception as error:
        raise Skip(f"the forward raised under autocast: {type(error).__name__}: {error}") from error
    recorder.finish(output)
    return outputs.found, Graph(recorder.graph, method="recorded", constructions=dict(setup.construction))


def _error(exact: torch.Tensor, rough: torch.Tensor) -> float:
    """Norm of the difference over the norm, of the values that are numbers in both."""
    both = torch.isfinite(exact) & torch.isfinite(rough)
    scale = float(exact[both].norm())
    return float((exact[both] - rough[both]).norm()) / scale if scale > 0 else 0.0
