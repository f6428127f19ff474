"""Collects the statistics of a pass while it runs: forward numbers as each op returns, gradients by tensor hooks.

Everything stays a 0-d tensor until `settle`, which moves all of it in one transfer. Never full backward hooks: they raise on
in-place activations (reference: torch.nn.Module.register_full_backward_hook notes). The standard deviation comes from mean and
norm, std^2 = norm^2 / n - mean^2 in float64, three times cheaper than `torch.var_mean` on a CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from nnlint import kinds
from nnlint.dense import plain, stored
from nnlint.probes.training_pass.attention import attention_peak
from nnlint.probes.training_pass.histograms import DRAWN, magnitudes
from nnlint.samples import BatchLayout
from nnlint.tensors import has_shape

_MEASURED = frozenset(
    {
        "linear-map",
        "matmul",
        "activation",
        "norm",
        "recurrent",
        "attention",
        "embedding",
        "add",
        "softmax",
        "pool",
        "reduce",
    }
)
#: A product of matrices is a layer where one of them is a parameter, which is known only in the graph.
_DRAWN = DRAWN | {"matmul"}
#: Arguments of loss functions that are kept beside prediction and target.
_KEPT = ("weight", "pos_weight", "input_lengths", "target_lengths")
_EXACT = 1 << 24  # float32 counts as far
_SPREAD_LIMIT = 1 << 16  # entries; above it the spread over samples costs more than it tells


@dataclass
class _Row:
    node: fx.Node
    numel: int
    scalars: dict[str, torch.Tensor]
    units: int | None = None
    is_drawn: bool = False
    gradient: torch.Tensor | None = None
    histogram: torch.Tensor | None = None
    gradient_histogram: torch.Tensor | None = None


@dataclass
class LossValues:
    """The tensors a loss function was called with; `value` is None where the call raised.

    `others` are further ones by the names of the functional's parameters: class weights, lengths of sequences.
    """

    node: fx.Node
    prediction: torch.Tensor | None
    target: torch.Tensor | None
    value: torch.Tensor | None
    others: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass
class Collector:
    """Observer of a recorder; one instance serves one pass.

    Args:
        layout: of the batch, for the spread over samples.
        gradients: whether to hook the outputs for their gradients.
        histograms: whether to count magnitudes as well, for pictures.
    """

    layout: BatchLayout
    gradients: bool = True
    histograms: bool = False
    rows: list[_Row] = field(default_factory=list)
    losses: list[LossValues] = field(default_factory=list)
    _channels: dict[fx.Node, int] = field(default_factory=dict)

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Measure one op's output."""
        op_kinds = kinds.info(node.meta["name"]).kinds
        if "loss" in op_kinds:
            self.keep_loss(node, output, args, kwargs)
        self._channels[node] = self._channel_dim(node, output, op_kinds)
        if op_kinds.isdisjoint(_MEASURED) or not output.is_floating_point() or output.numel() < 2:
            return
        with torch.no_grad():
            x = plain(output)
            row = _Row(node, output.numel(), self._numbers(node, x, op_kinds) if x is not None else {})
            if x is not None:
                row.scalars.update(attention_peak(node, x, args, kwargs))
            if "rectifier" in op_kinds and "never_active" in row.scalars:
                row.units = output.shape[self._channels[node]]
            row.is_drawn = self.histograms and not op_kinds.isdisjoint(_DRAWN)
            if row.is_drawn and x is not None:
                row.histogram = magnitudes(x)
        self.rows.append(row)
        if self.gradients and output.requires_grad and torch.is_grad_enabled():
            self._hook(row, output)

    def _numbers(self, node: fx.Node, x: torch.Tensor, op_kinds: frozenset[str]) -> dict[str, torch.Tensor]:
        wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
        numbers = {"mean": wide.mean(), "norm": torch.linalg.vector_norm(wide)}
        if "rectifier" in op_kinds:
            numbers["nonzero"] = _nonzero(wide)
            dim = self._channels[node]
            others = [axis for axis in range(x.dim()) if axis != dim % x.dim()]
            if others:
                numbers["never_active"] = (x.amax(dim=others) <= 0).sum()
        if "sigmoid" in op_kinds:
            numbers["saturated"] = ((x - 0.5).abs() > 0.48).float().mean()
        elif "saturating" in op_kinds:
            numbers["saturated"] = (x.abs() > 0.97).float().mean()
        axis = self.layout.axis_in(x) if x.dim() > 1 and self.layout.samples > 1 else None
        if axis is not None and x.numel() <= _SPREAD_LIMIT:
            # Twenty times as fast on a CPU as `var`, and without its cancellation where the mean is large.
            numbers["sample_norm"] = torch.linalg.vector_norm(wide - wide.mean(dim=axis, keepdim=True))
        return numbers

    def _channel_dim(self, node: fx.Node, output: torch.Tensor, op_kinds: frozenset[str]) -> int:
        """The axis of the units: 1 after convolutions and batch norms, the last after linear layers, else as the input had it."""
        if output.dim() < 2:
            return 0
        if op_kinds & {"conv", "batch-norm", "group-norm", "instance-norm"} or output.dim() == 2:
            return 1
        if op_kinds & {"linear", "layer-norm", "attention", "embedding", "recurrent"}:
            return -1
        source = next((argument for argument in node.args if isinstance(argument, fx.Node)), None)
        inherited = self._channels.get(source) if source is not None else None
        if inherited is not None and source is not None and len(source.meta.get("shape", ())) == output.dim():
            return inherited
        return 1 if output.dim() >= 4 else -1

    def _hook(self, row: _Row, output: torch.Tensor) -> None:
        def keep(gradient: torch.Tensor | None) -> None:
            values = stored(gradient) if gradient is not None else None
            if values is not None:  # None: one of several outputs that the loss does not depend on
                row.gradient = torch.linalg.vector_norm(values)
                if row.is_drawn:
                    row.gradient_histogram = magnitudes(values)

        output.register_hook(keep)

    def keep_loss(
        self, node: fx.Node, output: torch.Tensor | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Keep what a loss function was given and what it returned (None: it raised)."""

        def kept(position: int, *names: str) -> torch.Tensor | None:
            value = (
                args[position]
                if len(args) > position
                else next((kwargs[name] for name in names if name in kwargs), None)
            )
            return value.detach() if isinstance(value, torch.Tensor) and has_shape(value) else None

        self.losses.append(
            LossValues(
                node,
                kept(0, "input", "log_probs"),
                kept(1, "target", "targets"),
                output.detach() if output is not None else None,
                _others(node, args, kwargs),
            )
        )

    def settle(self) -> tuple[list[dict[str, float]], list[float | None]]:
        """All numbers as Python floats: a dict for each row, and the gradient norm (None where no gradient came)."""
        flat = [value for row in self.rows for value in row.scalars.values()]
        gradients = [row.gradient for row in self.rows if row.gradient is not None]
        numbers = iter(_floats(flat))
        settled = [{name: next(numbers) for name in row.scalars} for row in self.rows]
        norms = iter(_floats(gradients))
        return settled, [next(norms) if row.gradient is not None else None for row in self.rows]


def _others(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, torch.Tensor]:
    names = kinds.info(node.meta["name"]).parameters
    given = {**dict(zip(names, args[1:], strict=False)), **kwargs}
    return {name: found for name in _KEPT if (found := _as_tensor(given.get(name))) is not None}


def _as_tensor(value: Any) -> torch.Tensor | None:
    if isinstance(value, (tuple, list)) and value and all(isinstance(item, int) for item in value):
        return torch.tensor(value)
    return value.detach() if isinstance(value, torch.Tensor) and has_shape(value) else None


def _nonzero(x: torch.Tensor) -> torch.Tensor:
    """How many entries are not zero; 20 times as fast on a CPU as `torch.count_nonzero`."""
    return x.clone().ne_(0).sum(dtype=torch.float64 if x.numel() > _EXACT else None)


def _floats(scalars: list[torch.Tensor]) -> list[float]:
    if not scalars:
        return []
    device = scalars[0].device
    return [float(value) for value in torch.stack([scalar.to(device, torch.float64) for scalar in scalars]).tolist()]


def standard_deviation(mean: float, norm: float, numel: int) -> float:
    """Population standard deviation from mean, Euclidean norm and count; non-finite input gives NaN."""
    if not (math.isfinite(mean) and math.isfinite(norm)):
        return math.nan
    return math.sqrt(max(norm * norm / numel - mean * mean, 0.0))
