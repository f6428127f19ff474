"""Evidence `Parameters`: every parameter, its role, its statistics, and the initialization it is consistent with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

from nnlint.finding import Location, Skip
from nnlint.probes.guard_tensors import is_fake
from nnlint.probes.init_families import Fans, InitFamily, Moments, block_of, kurtosis, recognize
from nnlint.probes.model import Model, ModuleView
from nnlint.probes.parameter_kinds import fans_of, kind_of, owner_and_leaf

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

#: Weight tensors with fewer entries are consistent with nearly anything.
_TESTABLE = 64
#: Share of weight tensors that must look untouched.
_FRESH_SHARE = 0.8
#: Biases drawn this close to zero are zero in effect.
_NEGLIGIBLE = 1e-5
#: Deviation of normalization weights where they are drawn at all.
_NORM_STD = 0.02
#: Recurrent matrices larger than this are not decomposed.
_LARGEST_SPECTRUM = 1024
#: Odd, so that multiplying by its powers loses no bits modulo 2**64.
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
        tensor = self._tensor.detach()
        if is_fake(tensor) or isinstance(tensor, UninitializedTensorMixin):
            raise Skip(f"{self.name} has no values")
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
        groups: dict[int, list[int]] = {}
        for row, key in enumerate(_row_hashes(matrix).tolist()):
            groups.setdefault(key, []).append(row)
        return tuple(
            tuple(rows)
            for rows in groups.values()
            if len(rows) > 1 and all(torch.equal(matrix[rows[0]], matrix[row]) for row in rows[1:])
        )

    @property
    def unique_rows(self) -> float:
        """Share of distinct rows: 1.0 for any random initialization."""
        if not self.shape or self.shape[0] == 0:
            return 1.0
        return 1.0 - sum(len(rows) - 1 for rows in self.duplicate_rows) / self.shape[0]

    def row_is_zero(self, index: int) -> bool:
        """Whether one row (the embedding of one token) is all zero."""
        return not bool(self._values[index].any())

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
        """Fused projections and gates, each part initialized by itself with the same kind of draw."""
        if len(self.shape) < 2 or self.kind == "embedding":
            return None
        for parts in (2, 3, 4):
            if self.shape[0] % parts or self.numel // parts < _TESTABLE:
                continue
            found = [recognize(part, moments_of(part), self._fans) for part in self._values.chunk(parts)]
            shapes = {family.shape for family in found if family is not None}
            if None not in found and len(shapes - {"constant"}) == 1:
                return next(family for family in found if family is not None and family.shape != "constant")
        return None


class Parameters:
    """All parameters of the model, and whether they look as they were initialized."""

    def __init__(self, model: nn.Module, tree: Model | None = None) -> None:
        self._model = model
        self._tree = tree or Model(model)

    @classmethod
    def from_setup(cls, setup: TrainingSetup) -> Parameters:
        """The parameters of the setup's model."""
        return cls(setup.model, Model.from_setup(setup))

    def __iter__(self) -> Iterator[ParameterView]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    @cached_property
    def all(self) -> tuple[ParameterView, ...]:
        """Every parameter once, in the order of `named_parameters()`."""
        names: dict[int, list[str]] = {}
        tensors: dict[int, Tensor] = {}
        for name, parameter in self._model.named_parameters(remove_duplicate=False):
            names.setdefault(id(parameter), []).append(name)
            tensors[id(parameter)] = parameter
        return tuple(self._view(tensors[key], found) for key, found in names.items())

    @cached_property
    def buffers(self) -> tuple[ParameterView, ...]:
        """Every floating-point buffer once, as views of kind "buffer"."""
        found = ((name, buffer) for name, buffer in self._model.named_buffers() if buffer.is_floating_point())
        return tuple(self._view(buffer, [name], kind="buffer") for name, buffer in found)

    @cached_property
    def _by_name(self) -> dict[str, ParameterView]:
        return {name: view for view in self.all for name in (view.name, *view.tied_to)}

    def find(self, name: str) -> ParameterView | None:
        """The parameter with this qualified name (any of a tied one's names)."""
        return self._by_name.get(name)

    def of_module(self, path: str) -> tuple[ParameterView, ...]:
        """The parameters that the module at `path` owns directly."""
        return tuple(view for view in self.all if view.module_path == path)

    def of_kind(self, *kinds: str) -> tuple[ParameterView, ...]:
        """The parameters of these kinds."""
        return tuple(view for view in self.all if view.kind in kinds)

    @property
    def trainable(self) -> tuple[ParameterView, ...]:
        """Those that require a gradient."""
        return tuple(view for view in self.all if view.requires_grad)

    @property
    def numel(self) -> int:
        """How many numbers all parameters hold."""
        return sum(view.numel for view in self.all)

    @cached_property
    def clones(self) -> tuple[tuple[ParameterView, ...], ...]:
        """Groups of distinct weight tensors with the same random values bit for bit."""
        groups: dict[tuple[tuple[int, ...], str, int], list[ParameterView]] = {}
        for view in self.of_kind("weight", "recurrent", "embedding"):
            if view.numel >= _TESTABLE and view.finite and not view.constant:
                values = view._values.reshape(1, -1)  # noqa: SLF001 - the view is this class's own
                groups.setdefault((view.shape, view.dtype, int(_row_hashes(values))), []).append(view)
        return tuple(tuple(views) for views in groups.values() if len(views) > 1)

    @cached_property
    def _weights(self) -> tuple[ParameterView, ...]:
        """The weight tensors that the decision rests on."""
        weights = [view for view in self.of_kind("weight", "recurrent", "embedding") if view.numel and view.finite]
        return tuple(view for view in weights if view.numel >= _TESTABLE) or tuple(weights)

    @cached_property
    def known_weights(self) -> tuple[int, int]:
        """How many weight tensors are consistent with a known initialization, and how many were looked at."""
        return sum(view.init is not None for view in self._weights), len(self._weights)

    @cached_property
    def known_norms(self) -> tuple[int, int]:
        """The same for weights and biases of normalization layers, which training moves off their constants."""
        norms = [view for view in self.of_kind("norm") if view.numel > 1 and view.finite]
        return sum(view.init is not None for view in norms), len(norms)

    @cached_property
    def known_biases(self) -> tuple[int, int]:
        """The same for biases: constant, by torch's default, or drawn as the weight beside them."""
        biases = [view for view in self.of_kind("bias") if view.numel > 1 and view.finite]
        return sum(self._is_untouched(view) for view in biases), len(biases)

    def _is_untouched(self, bias: ParameterView) -> bool:
        """A bias has too few values for its shape to tell: its range and scale must."""
        moments = bias.moments
        if bias.constant or moments.std < _NEGLIGIBLE or moments.abs_max <= (bias.default_bound or 0.0) * (1.0 + 1e-3):
            return True
        error = 5.0 * math.sqrt(0.5 / bias.numel)
        beside = [view.std for view in self.of_module(bias.module_path) if view.kind in {"weight", "recurrent"}]
        return bias.init is not None and any(abs(bias.std / std - 1.0) < error for std in (1.0, *beside) if std > 0)

    @property
    def fresh_share(self) -> float:
        """Share of weight tensors consistent with a known initialization; 1.0 where there are none."""
        known, total = self.known_weights
        return known / total if total else 1.0

    @property
    def fresh(self) -> bool:
        """Whether the model looks as it was initialized, not trained or loaded."""
        return all(
            not total or known / total >= _FRESH_SHARE
            for known, total in (self.known_weights, self.known_norms, self.known_biases)
        )

    def require_fresh(self) -> None:
        """Refuse to judge an initialization that is no longer there.

        Raises:
            Skip: the weights look trained or loaded.
        """
        if self.fresh:
            return
        known, total = self.known_weights
        if self.fresh_share < _FRESH_SHARE:
            raise Skip(f"weights look trained: only {known} of {total} weight tensors match a known initialization")
        for what, (known, total) in {"normalization tensors": self.known_norms, "biases": self.known_biases}.items():
            if total and known / total < _FRESH_SHARE:
                raise Skip(f"weights look trained: only {known} of {total} {what} are as initialized")

    def _view(self, tensor: Tensor, names: list[str], kind: str | None = None) -> ParameterView:
        name = names[0]
        path, leaf = owner_and_leaf(name)
        owner = self._tree.find(path) or self._tree.root
        lazy = isinstance(tensor, UninitializedTensorMixin)
        shape = () if lazy else tuple(tensor.shape)
        padding = owner.attribute("padding_idx") if owner.is_type("Embedding", "EmbeddingBag") else None
        return ParameterView(
            name=name,
            module_path=path,
            owner_type=owner.type_name,
            shape=shape,
            dtype=str(tensor.dtype).removeprefix("torch."),
            requires_grad=bool(tensor.requires_grad),
            kind=kind or kind_of(owner, leaf, shape),
            tied_to=tuple(names[1:]),
            location=_location(self._tree, owner),
            _fans=Fans() if lazy else fans_of(owner, leaf, shape),
            _tensor=tensor,
            _padding=padding if isinstance(padding, int) else None,
        )


def moments_of(values: Tensor) -> Moments:
    """Statistics of a part of a tensor."""
    double = values.double()
    low, high = torch.aminmax(double)
    mean, std = float(double.mean()), float(double.std(correction=0))
    return Moments(values.numel(), mean, std, float(low), float(high))


def _location(tree: Model, owner: ModuleView) -> Location | None:
    """Where the owner was constructed, or else the nearest module above it for which that is known."""
    path = owner.module_path
    while True:
        view = tree.find(path)
        if view is not None and view.location is not None:
            return view.location
        if not path:
            return None
        path = path.rpartition(".")[0]


def _row_hashes(matrix: Tensor) -> Tensor:
    """A 64-bit hash of each row's bits, in integer arithmetic: equal rows have equal hashes whatever their place."""
    integers = matrix.contiguous().view(torch.int32 if matrix.dtype == torch.float32 else torch.int64)
    powers = torch.arange(1, integers.shape[1] + 1, dtype=torch.int64, device=matrix.device) * 2 + 1
    return ((integers.to(torch.int64) ^ (powers * _HASH_FACTOR)) * powers).sum(1)
