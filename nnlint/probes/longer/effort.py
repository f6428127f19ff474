"""What a longer probe may spend: its steps go by how much arithmetic one training step is.

Never by the clock: the same model gets the same number of steps on every machine, so that the same seed gives the same report.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nnlint.evidence import TABLE
from nnlint.finding import Skip

if TYPE_CHECKING:
    from torch import nn

    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session

#: What calling one operation costs besides its arithmetic, in multiply-adds (docs/evidence/calibration.md#effort).
_CALL = 1_000_000
#: What updating one parameter, and what writing one number of an output costs, in multiply-adds.
_UPDATE = 10
_WRITE = 10
#: Work that a second of the time budget pays for: less than any machine and model of docs/evidence/calibration.md#effort did (3e9),
#: so that the count ends a probe before the clock does, and the same budget gives the same report.
_WORK_PER_SECOND = 2e9
#: What the probes of the default profile cost: seconds for any model, and steps.
_DEFAULT_SECONDS, _DEFAULT_STEPS = 1.0, 10


def forward_work(graph: Graph, model: nn.Module) -> int:
    """Multiply-adds of the recorded forward, calls and the update of the parameters included."""
    sizes = {name: parameter.shape.numel() for name, parameter in model.named_parameters() if parameter.dim() > 1}
    calls = [op for op in graph.ops if not op.is_kind("input", "parameter", "buffer")]
    arithmetic = sum(_multiply_adds(op, sizes) + _WRITE * math.prod(op.shape or ()) for op in calls)
    return arithmetic + _CALL * len(calls) + _UPDATE * sum(sizes.values())


def _multiply_adds(op: Op, sizes: dict[str, int]) -> int:
    """Every weight is used once for each output position; a product of two activations is as long as their last dimension."""
    if not op.shape:
        return 0
    if op.is_kind("matmul", "attention") and not op.is_kind("linear-map"):
        shape = op.input.shape if op.input is not None else None
        return math.prod(op.shape) * (shape[-1] if shape else 1) * (2 if op.is_kind("attention") else 1)
    if not op.is_kind("linear-map", "recurrent"):
        return 0
    weights = sum(sizes.get(name, 0) for name in op.parameters)
    channels = op.shape[1] if op.is_kind("conv") and len(op.shape) > 2 else op.shape[-1]
    return weights * (math.prod(op.shape) // max(channels, 1))


def steps_within(work: float, budget: float, *, least: int, most: int) -> int:
    """How many steps of this much work a budget of multiply-adds pays for, between two limits."""
    return max(least, min(most, int(budget / max(work, 1.0))))


class LongerProbe:
    """One run of a longer probe: whether it may run, how many steps it gets, and what happens after each.

    Args:
        session: the session.
        evidence: what the probe measures.

    Raises:
        Skip: the probe is not asked for, or cannot run.
    """

    def __init__(self, session: Session, evidence: str) -> None:
        self.session = session
        self.name = TABLE[evidence].probe
        self.done = 0
        self.planned = 0
        self._work = 0.0
        if not session.plan.deep and self.name not in session.plan.probes:
            raise Skip(f"needs --deep or --probe {self.name}")
        self.forward = session.evidence("ForwardStats")
        if evidence not in ("GradientCheck", "PrecisionStats"):
            session.evidence("LossCalls").require_result()
            session.evidence("BackwardStats")

    def steps(self, limits: tuple[float, int, int], *, share: float = 1.0, runs: int = 1) -> int:
        """The steps of each run that the probe's own limits and the time budget pay for.

        Args:
            limits: multiply-adds of one run, and its fewest and most steps.
            share: of the sample batch, that a step is made on.
            runs: how many runs of as many steps the probe makes.

        Raises:
            OutOfBudget: the time budget does not pay for the fewest.
        """
        budget, least, most = limits
        whole = forward_work(self.forward.graph, self.session.setup.model)
        self._work = whole * share
        wanted = steps_within(self._work, budget, least=least, most=most)
        steps = min(wanted, self._affordable(whole) // runs)
        if steps < least:
            raise self.session.out_of_budget(
                self.name, f"not begun: it needs {runs * least} steps, {runs * steps} were left"
            )
        if steps < wanted:
            self.session.cut[self.name] = f"{runs * steps} steps instead of {runs * wanted}"
        self.planned = runs * steps
        return steps

    def _affordable(self, whole: float) -> int:
        """Steps that the rest of the time budget pays for, counted in work."""
        seconds = self.session.plan.budget
        if seconds is None:
            return 1 << 62
        left = (seconds - _DEFAULT_SECONDS) * _WORK_PER_SECOND - self.session.work - _DEFAULT_STEPS * whole
        return max(int(left / max(self._work, 1.0)), 0)

    def on_step(self) -> None:
        """Count the step, report progress, and stop where the time is over."""
        self.done += 1
        self.session.work += self._work
        on_step = self.session.plan.on_step
        if on_step is not None:
            on_step(self.name, self.done, max(self.planned, self.done))
        self.session.check_clock(self.name, f"after {self.done} steps")

    def run(self, measure: Callable[[], Any]) -> Any:
        """Measure inside the state guard.

        Raises:
            Skip: the time budget is used up, or the user's code raised: the failure is noted.
        """
        return self.session.measure(f"{self.name} probe", measure)
