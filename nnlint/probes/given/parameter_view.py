"""One parameter: its role, its statistics, and the initialization it is consistent with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from nnlint.dense import plain
from nnlint.finding import Location, Skip
from nnlint.probes.given.init_families import Fans, InitFamily, Moments, block_of, kurtosis, recognize
from nnlint.tensors import is_fake

#: Weight tensors with fewer entries are consistent with nearly anything.
TESTABLE = 64
#: Biases drawn this close to zero are zero in effect.
_NEGLIGIBLE = 1e-5
#: Deviation of normalization weights where they are drawn at all.
_NORM_STD = 0.02
#: Recurrent matrices larger than this are not decomposed.
_LARGEST_SPECTRUM = 1024
#: Entries of a row or tensor that are compared before the rest is.
_PREFIX = 32
#: Odd, so that multiplying by it loses no bits modulo 2**64.
_HASH_FACTOR = 6364136223846793005


@dataclass(frozen=True, eq=False)
class ParameterView:
    """One parameter (or floating-point buffer), tied ones once; statistics are computed when first asked for.

    Attributes:
        name: qualified name.
        module_path: path of the module that owns it.
        owner_type: class name of that module.
        kind: "weight", "bias", "norm", "embedding", "recurrent", "other", or "buffer".
        fan_in: connections into a unit as `torch.nn.init` counts them; None where it has no meaning.
        fan_out: connections out of a unit, likewise.
        tied_to: the other names of the same tensor.
        location: where its module was constructed.
    """

    name: str
    module_path: str
    owner_type: str
    shape: tuple[int, ...]
    dtype: str
    requires_grad: bool
    kind: str
    tied_to: tuple[str, ...]
    location: Location | None
    _fans: Fans = field(repr=False)
    _tensor: Tensor = field(repr=False)
    _padding: int | None = field(default=None, repr=False)

    @property
    def fan_in(self) -> int | None:
        """Connections into a unit, as `torch.nn.init` counts them."""
        return self._fans.fan_in

    @property
    def fan_out(self) -> int | None:
        """Connections out of a unit, as `torch.nn.init` counts them."""
        return self._fans.fan_out

    @property
    def default_bound(self) -> float | None:
        """Half-width of the uniform distribution torch draws it from by default; None where torch does not."""
        return self._fans.default_bound

    @property
    def label(self) -> str:
        """`encoder.fc1.weight (Linear)`."""
        return f"{self.name} ({self.owner_type})"

    @property
    def leaf(self) -> str:
        """The name within its module: `weight`, `bias`, `weight_hh_l0`."""
        return self.name.removeprefix(f"{self.module_path}.") if self.module_path else self.name

    @property
    def numel(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    @cached_property
    def _values(self) -> Tensor:
        if is_uninitialized(self._tensor) or is_fake(self._tensor):
            raise Skip(f"{self.name} has no values")
        tensor = plain(self._tensor)
        if tensor is None:
            raise Skip(f"the values of {self.name} ({type(self._tensor).__name__}) cannot be read")
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor)
        return tensor if tensor.dtype in {torch.float32, torch.float64} else tensor.to(torch.float32)

    @cached_property
    def moments(self) -> Moments:
        """Count, mean, deviation and range, in three passes."""
        values = self._values
        count = values.numel()
        if count == 0:
            return Moments(0, math.nan, math.nan, math.nan, math.nan)
        low, high = (float(bound) for bound in torch.aminmax(values))
        if not (math.isfinite(low) and math.isfinite(high)):
            return Moments(count, math.nan, math.nan, low, high)
        mean, norm = float(values.mean()), float(torch.linalg.vector_norm(values))
        variance = norm * norm / count - mean * mean
        # The difference has lost its digits, or the squares left the range of the dtype: a slower pass in double.
        if not variance > 0.01 * mean * mean or not math.isfinite(norm) or norm < 1e-15:
            double = values.double()
            mean, variance = float(double.mean()), float(double.var(correction=0))
        return Moments(count, mean, math.sqrt(max(variance, 0.0)), low, high)

    @property
    def mean(self) -> float:
        """Mean; NaN where a value is not finite."""
        return self.moments.mean

    @property
    def std(self) -> float:
        """Standard deviation (population); NaN where a value is not finite."""
        return self.moments.std

    @property
    def abs_max(self) -> float:
        """Largest absolute value."""
        return self.moments.abs_max

    @property
    def finite(self) -> bool:
        """Whether every value is finite."""
        return self.numel == 0 or (math.isfinite(self.moments.low) and math.isfinite(self.moments.high))

    @cached_property
    def non_finite(self) -> int:
        """How many values are NaN or infinite."""
        return 0 if self.finite else self.numel - int(torch.isfinite(self._values).sum())

    @property
    def constant(self) -> bool:
        """Whether all values are finite and equal."""
        return self.numel > 0 and self.finite and self.moments.low == self.moments.high

    @property
    def value(self) -> float | None:
        """The value of a constant tensor."""
        return self.moments.low if self.constant else None

    def is_default_in_parts(self, parts: int) -> bool:
        """Whether each part (gate, fused projection) is constant or within the bound of torch's default."""
        if self.numel % parts:
            return False
        bound = (self.default_bound or 0.0) * (1.0 + 1e-3)
        found = [self.moments] if parts == 1 else [moments_of(part) for part in self._values.flatten().chunk(parts)]
        return all(part.std < _NEGLIGIBLE or part.abs_max <= bound for part in found)

    @cached_property
    def kurtosis(self) -> float:
        """Fourth standardised moment of at most 65 536 entries: 3 normal, 1.8 uniform; NaN for a constant."""
        return kurtosis(block_of(self._values)) if self.numel and self.finite else math.nan

    @cached_property
    def duplicate_rows(self) -> tuple[tuple[int, ...], ...]:
        """Groups of rows (units, filters) that are identical bit for bit."""
        if len(self.shape) < 2 or self.numel == 0:
            return ()
        matrix = self._values.flatten(1)
        rows = list(range(matrix.shape[0]))
        # Random rows part within their first entries; only those that do not are hashed whole.
        alike = [row for found in _grouped(rows, matrix[:, :_PREFIX]).values() if len(found) > 1 for row in found]
        groups = _grouped(alike, matrix[alike]) if alike else {}
        return tuple(
            tuple(rows)
            for rows in groups.values()
            if len(rows) > 1 and all(torch.equal(matrix[rows[0]], matrix[row]) for row in rows[1:])
        )

    def row_is_zero(self, index: int) -> bool:
        """Whether one row (the embedding of one token) is all zero."""
        return not bool(self._values[index].any())

    @cached_property
    def content_hash(self) -> int:
        """Equal for tensors of one shape and dtype that are equal bit for bit."""
        return int(_row_hashes(self._values.reshape(1, -1)))

    @cached_property
    def prefix_hash(self) -> int:
        """The same of the first entries only: cheap, and different for different random tensors."""
        return int(_row_hashes(self._values.reshape(1, -1)[:, :_PREFIX]))

    @cached_property
    def spectral_radii(self) -> tuple[float, ...]:
        """Largest absolute eigenvalue of each square block of a recurrent matrix (one a gate); empty for others."""
        if len(self.shape) != 2 or self.shape[1] == 0 or self.shape[0] % self.shape[1] or not self.finite:
            return ()
        if self.shape[1] > _LARGEST_SPECTRUM:
            return ()
        blocks = self._values.double().split(self.shape[1])
        return tuple(float(torch.linalg.eigvals(block).abs().max()) for block in blocks)

    @cached_property
    def init(self) -> InitFamily | None:
        """The initialization it is consistent with; None for trained, loaded or structured values."""
        if not self.finite or self.numel == 0:
            return None
        if self.kind == "norm" and not self.constant:
            return self._init_around_one()
        if self._padding is not None and len(self.shape) == 2 and self.shape[0] > 1:
            kept = torch.cat([self._values[: self._padding], self._values[self._padding + 1 :]])
            return recognize(kept, moments_of(kept), self._fans)
        return recognize(self._values, self.moments, self._fans) or self._init_by_parts()

    def _init_around_one(self) -> InitFamily | None:
        """Normalization weights drawn by N(1, 0.02), as generative nets do: channels are few, the scale must decide."""
        count, std = self.numel, self.moments.std
        centred = abs(self.mean - 1.0) < 5.0 * _NORM_STD / math.sqrt(count)
        if centred and abs(std / _NORM_STD - 1.0) < 5.0 * math.sqrt(0.5 / count):
            return InitFamily("normal(1, 0.02)", "normal", std)
        return None

    def _init_by_parts(self) -> InitFamily | None:
        """Fused projections and gates, each part initialized by itself."""
        if len(self.shape) < 2 or self.kind == "embedding":
            return None
        for parts in (2, 3, 4):
            if self.shape[0] % parts or self.numel // parts < TESTABLE:
                continue
            found = [recognize(part, moments_of(part), self._fans) for part in self._values.chunk(parts)]
            known = [family for family in found if family is not None]
            if len(known) == parts:
                return max(known, key=lambda family: family.std)
        return None


def moments_of(values: Tensor) -> Moments:
    """Statistics of a part of a tensor."""
    double = values.double()
    low, high = torch.aminmax(double)
    mean, std = float(double.mean()), float(double.std(correction=0))
    return Moments(values.numel(), mean, std, float(low), float(high))


def _grouped(rows: list[int], values: Tensor) -> dict[int, list[int]]:
    """Row numbers by the hash of their values."""
    groups: dict[int, list[int]] = {}
    for row, key in zip(rows, _row_hashes(values).tolist(), strict=True):
        groups.setdefault(key, []).append(row)
    return groups


def _row_hashes(matrix: Tensor) -> Tensor:
    """A 64-bit hash of each row's bits, in integer arithmetic: equal rows have equal hashes whatever their place."""
    integers = matrix.contiguous().view(torch.int32 if matrix.dtype == torch.float32 else torch.int64)
    powers = torch.arange(1, integers.shape[1] + 1, dtype=torch.int64, device=matrix.device) * 2 + 1
    return ((integers.to(torch.int64) ^ (powers * _HASH_FACTOR)) * powers).sum(1)


def is_uninitialized(tensor: Tensor) -> bool:
    """Whether a lazy module has not given the tensor its shape yet."""
    return isinstance(tensor, (UninitializedParameter, UninitializedBuffer))
