"""Which initialization a weight tensor is consistent with, by the sampling theory of independent draws.

The tests work on a block of at most 256 x 256 entries; the limits are five standard errors or, where a statistic is
far from normal, what thousands of simulated draws stay below (docs/evidence/calibration.md, "Fresh weights").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Side of the block that the shape and independence tests look at.
BLOCK = 256
_SIGMAS = 5.0
#: Largest standardised chi-square statistic of row and column sums; draws stay below 7.3.
_CHI_LIMIT = 9.0
#: Means further from zero than this many deviations are meant.
_SHIFT = 0.5
#: Standard error of the sample kurtosis times sqrt(n), and the kurtosis itself, for each shape.
_KURTOSIS = {"uniform": (1.8, 1.2), "truncated-normal": (2.37, 2.1), "normal": (3.0, 5.0)}
#: Of a standard normal cut off at two deviations.
_TRUNCATED_STD = 0.8796
#: Kaiming and Xavier gains: linear, relu, tanh, selu.
_GAINS = {"": 1.0, "relu": math.sqrt(2.0), "tanh": 5.0 / 3.0, "selu": 0.75}
_FIXED_STDS = (1.0, 0.02, 0.01, 0.1, 0.05, 0.001, 0.006, 0.2)


@dataclass(frozen=True)
class InitFamily:
    """An initialization a tensor is consistent with.

    Attributes:
        name: "torch default", "kaiming normal (relu, fan_in)", "normal(0.02)", "zeros", "uniform", ...
        shape: "uniform", "normal", "truncated-normal", "orthogonal", "constant" or "identity".
        std: standard deviation of the tensor.
    """

    name: str
    shape: str
    std: float


@dataclass(frozen=True)
class Fans:
    """Connections into and out of a unit; `default_bound` is the half-width of torch's default for the layer."""

    fan_in: int | None = None
    fan_out: int | None = None
    groups: int = 1
    default_bound: float | None = None


@dataclass(frozen=True)
class Moments:
    """Statistics of a whole tensor."""

    count: int
    mean: float
    std: float
    low: float
    high: float

    @property
    def abs_max(self) -> float:
        """Largest absolute value."""
        return max(abs(self.low), abs(self.high))


def kurtosis(block: Tensor) -> float:
    """Fourth standardised moment: 3 for a normal, 1.8 for a uniform distribution; NaN for a constant."""
    centred = block - block.mean()
    squares = centred * centred
    variance = float(squares.mean())
    return float((squares * squares).mean()) / (variance * variance) if variance > 0 else math.nan


def block_of(weight: Tensor) -> Tensor:
    """Evenly spaced rows, and their leading columns, so that correlation between neighbours is seen."""
    matrix = weight.flatten(1) if weight.dim() > 1 else weight.reshape(1, -1)
    step = max(1, math.ceil(matrix.shape[0] / BLOCK))
    return matrix[::step, :BLOCK].double()


def recognize(weight: Tensor, moments: Moments, fans: Fans) -> InitFamily | None:
    """The initialization that a finite tensor is consistent with; None for trained, loaded or structured values."""
    if moments.count == 0:
        return None
    if moments.low == moments.high:
        name = {0.0: "zeros", 1.0: "ones"}.get(moments.low, "constant")
        return InitFamily(name, "constant", 0.0)
    if _is_identity(weight, moments):
        return InitFamily("identity", "identity", moments.std)
    if _has_two_values(weight, moments):
        return InitFamily("two values", "identity", moments.std)
    if _is_orthogonal(weight):
        return InitFamily("orthogonal", "orthogonal", moments.std)
    block = block_of(weight)
    if abs(moments.mean) > _SHIFT * moments.std:
        return _recognize_shifted(block, moments)
    shape = _shape(block, moments)
    if shape is None or not is_independent(block, kurtosis(block)):
        return None
    return InitFamily(_named(shape, moments, fans) or shape, shape, moments.std)


def _recognize_shifted(block: Tensor, moments: Moments) -> InitFamily | None:
    """Independent draws around something else than zero (`torch.rand`): no training moves a mean that far."""
    mean = moments.mean
    centred = Moments(moments.count, 0.0, moments.std, moments.low - mean, moments.high - mean)
    shape = _shape(block - mean, centred)
    if shape is None or not is_independent(block - mean, kurtosis(block)):
        return None
    return InitFamily(f"shifted {shape}", shape, moments.std)


def _shape(block: Tensor, moments: Moments) -> str | None:
    """Uniform, normal or truncated normal around zero, at any scale; None for anything else."""
    count, std = moments.count, moments.std
    if abs(moments.mean) > _SIGMAS * std / math.sqrt(count):
        return None
    seen, total = kurtosis(block), block.numel()
    reach = moments.abs_max / std
    for shape, (expected, error) in _KURTOSIS.items():
        if abs(seen - expected) > _SIGMAS * error / math.sqrt(total) + 5.0 / total:
            continue
        if shape == "uniform" and abs(reach / math.sqrt(3.0) - 1.0) > _SIGMAS * math.sqrt(0.2 / count) + 10.0 / count:
            continue
        if shape == "truncated-normal" and reach > (2.0 / _TRUNCATED_STD) * (1.0 + _SIGMAS * math.sqrt(0.35 / count)):
            continue
        # The largest of n normal draws is above this once in a million times. Single draws of torch's truncated
        # normal fall on its cut-off, 2.0 whatever the deviation.
        if shape == "normal" and reach > math.sqrt(2.0 * math.log(max(count, 2) * 1e6)) and moments.abs_max != 2.0:
            continue
        return shape
    return None


def is_independent(block: Tensor, kurt: float) -> bool:
    """Whether rows, columns, neighbours and directions of a zero-mean block look like independent draws of one scale.

    Training adds products of few gradients and activations: rows and columns of unequal scale or shifted mean, and a
    leading singular value that random matrices of this size do not have.
    """
    rows, columns = block.shape
    variance = float((block * block).mean())
    if variance == 0.0:
        return True
    scaled = block / math.sqrt(variance)
    squares = scaled * scaled
    spread = max(kurt - 1.0, 0.1)
    for length, count, axis in ((columns, rows, 1), (rows, columns, 0)):
        if count < 2:
            continue
        unequal = float(((squares.mean(axis) - 1.0) ** 2).sum()) * length / spread
        shifted = float((scaled.mean(axis) ** 2).sum()) * length
        if max(unequal - count, shifted - count) / math.sqrt(2.0 * count) > _CHI_LIMIT:
            return False
    if columns > 1:
        neighbours = float((scaled[:, :-1] * scaled[:, 1:]).mean()) * math.sqrt(rows * (columns - 1))
        if abs(neighbours) > _SIGMAS:
            return False
    return _leading_singular_value(scaled) <= _edge(rows, columns)


def _edge(rows: int, columns: int) -> float:
    """Largest singular value that a matrix of independent draws of variance 1 may have."""
    margin: float = 0.9 * min(rows, columns) ** (-2.0 / 3.0)
    return (math.sqrt(rows) + math.sqrt(columns)) * (1.0 + margin)


def _leading_singular_value(matrix: Tensor) -> float:
    """By power iteration from a fixed start: no random numbers are drawn."""
    vector = torch.cos(torch.arange(matrix.shape[1], dtype=matrix.dtype, device=matrix.device) ** 2)
    for _ in range(12):
        vector = matrix.T @ (matrix @ vector)
        norm = float(vector.norm())
        if norm == 0.0:
            return 0.0
        vector = vector / norm
    return float((matrix @ vector).norm())


def _is_identity(weight: Tensor, moments: Moments) -> bool:
    """An identity matrix or a Dirac convolution: a single one in every row."""
    if moments.low != 0.0 or moments.high != 1.0 or weight.dim() < 2:
        return False
    ones = int((weight == 1).sum())
    return ones == int((weight != 0).sum()) and ones <= weight.shape[0]


def _has_two_values(weight: Tensor, moments: Moments) -> bool:
    """Gains at one beside shifts at zero, a transformation that starts as the identity: written down, never trained to."""
    if moments.count <= 2 or (moments.low, moments.high) != (0.0, 1.0):  # two other values are what a quantizer leaves
        return False
    return bool(((weight == 0.0) | (weight == 1.0)).all())


def _is_orthogonal(weight: Tensor) -> bool:
    """Rows (or columns, whichever are fewer) orthogonal and of one length; judged on sixteen of them."""
    if weight.dim() < 2:
        return False
    matrix = weight.flatten(1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    if matrix.shape[0] < 2:
        return False
    few = matrix[:16].double()
    gram = few @ few.T
    diagonal = gram.diagonal()
    scale = float(diagonal.mean())
    off = float((gram - torch.diag(diagonal)).abs().max())
    return scale > 0 and off < 1e-3 * scale and float((diagonal - scale).abs().max()) < 1e-3 * scale


def _named(shape: str, moments: Moments, fans: Fans) -> str | None:
    """The well-known initialization of this shape and scale, if it is one."""
    if shape == "uniform":
        return _named_uniform(moments, fans)
    # Relative standard error of a sample's deviation, from the kurtosis of the shape.
    error = _SIGMAS * math.sqrt((_KURTOSIS[shape][0] - 1.0) / (4.0 * moments.count))
    prefix = "truncated " if shape == "truncated-normal" else ""
    # Some libraries widen a truncated normal to keep the deviation, others let it shrink.
    scales = (1.0, _TRUNCATED_STD) if shape == "truncated-normal" else (1.0,)
    for name, std in _targets(fans, "normal"):
        if any(abs(moments.std / (std * scale) - 1.0) < error for scale in scales):
            return prefix + name
    for std in _FIXED_STDS:
        if any(abs(moments.std / (std * scale) - 1.0) < error for scale in scales):
            return f"{prefix}normal({std:g})"
    return None


def _named_uniform(moments: Moments, fans: Fans) -> str | None:
    bounds = [("torch default", fans.default_bound)] if fans.default_bound else []
    bounds += [(name, math.sqrt(3.0) * std) for name, std in _targets(fans, "uniform")]
    for name, bound in bounds:
        # A rounded dtype may step over the bound by its last digit.
        if bound and (1.0 - 10.0 / moments.count) <= moments.abs_max / bound <= 1.0 + 1e-3:
            return name
    return None


def _targets(fans: Fans, kind: str) -> list[tuple[str, float]]:
    """Names and standard deviations of the fan-scaled initializations."""
    if not fans.fan_in or not fans.fan_out:
        return []
    targets = []
    sides = {"fan_in": fans.fan_in, "fan_out": fans.fan_out}
    if fans.groups > 1:
        sides["fan_out per group"] = max(1, fans.fan_out // fans.groups)
    for side, fan in sides.items():
        targets.append((f"kaiming {kind} (relu, {side})", math.sqrt(2.0 / fan)))
    targets.append((f"lecun {kind}", 1.0 / math.sqrt(fans.fan_in)))
    for activation, gain in _GAINS.items():
        label = f" ({activation})" if activation else ""
        targets.append((f"xavier {kind}{label}", gain * math.sqrt(2.0 / (fans.fan_in + fans.fan_out))))
    targets.append((f"kaiming {kind} (tanh, fan_in)", _GAINS["tanh"] / math.sqrt(fans.fan_in)))
    return targets
