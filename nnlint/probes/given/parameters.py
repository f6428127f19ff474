"""Evidence `Parameters`: every parameter of the model, and whether they look as they were initialized."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.optim import Optimizer

from nnlint.finding import Location, Skip
from nnlint.probes.fake import needs_fake
from nnlint.probes.given.init_families import Fans
from nnlint.probes.given.model import Model, ModuleView
from nnlint.probes.given.parameter_kinds import fans_of, kind_of, owner_and_leaf
from nnlint.probes.given.parameter_view import TESTABLE, ParameterView, is_uninitialized

if TYPE_CHECKING:
    from nnlint.probes.session import Session
    from nnlint.setup.target.checkpoint import LoadedWeights
    from nnlint.setup.training_setup import TrainingSetup

#: Share of weight tensors, of normalization tensors and of biases that must look untouched.
_FRESH_SHARE = 0.8


class Parameters:
    """All parameters of the model, and whether they look as they were initialized."""

    def __init__(
        self,
        model: nn.Module,
        tree: Model | None = None,
        loaded: LoadedWeights | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        """Look at a model.

        Args:
            model: the model.
            tree: its module tree, where it is known.
            loaded: what a checkpoint loaded by nnlint left undone.
            optimizer: what trains the model; one that has made steps tells that the weights are not as initialized.
        """
        self._model = model
        self._tree = tree or Model(model)
        self.loaded = loaded
        self.stepped = optimizer is not None and _has_stepped(optimizer)

    @classmethod
    def from_setup(cls, setup: TrainingSetup) -> Parameters:
        """The parameters of the setup's model."""
        return cls(setup.model, Model.from_setup(setup), setup.weights, setup.optimizer)

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

    @cached_property
    def _by_owner(self) -> dict[str, tuple[ParameterView, ...]]:
        owned: dict[str, list[ParameterView]] = {}
        for view in self.all:
            owned.setdefault(view.module_path, []).append(view)
        return {path: tuple(views) for path, views in owned.items()}

    def of_module(self, path: str) -> tuple[ParameterView, ...]:
        """The parameters that the module at `path` owns directly."""
        return self._by_owner.get(path, ())

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
        alike: dict[tuple[tuple[int, ...], str, int], list[ParameterView]] = {}
        for view in self.of_kind("weight", "recurrent", "embedding"):
            if view.numel >= TESTABLE and view.finite and not view.constant:
                alike.setdefault((view.shape, view.dtype, view.prefix_hash), []).append(view)
        groups: dict[tuple[tuple[int, ...], int], list[ParameterView]] = {}
        for candidates in alike.values():
            if len(candidates) > 1:
                for view in candidates:
                    groups.setdefault((view.shape, view.content_hash), []).append(view)
        return tuple(tuple(views) for views in groups.values() if len(views) > 1)

    @cached_property
    def _weights(self) -> tuple[ParameterView, ...]:
        """The weight tensors that the decision rests on."""
        weights = [view for view in self.of_kind("weight", "recurrent", "embedding") if view.numel and view.finite]
        return tuple(view for view in weights if view.numel >= TESTABLE) or tuple(weights)

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
        if any(bias.is_default_in_parts(parts) for parts in (1, 2, 3, 4)):
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
        return not self.stepped and all(
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
        if self.stepped:
            raise Skip("weights are trained: the optimizer has made steps")
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
        lazy = is_uninitialized(tensor)
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


def _has_stepped(optimizer: Optimizer) -> bool:
    """Whether the optimizer counts steps or keeps a momentum; state that is there from the start (Adagrad) proves nothing."""
    return any(
        float(state.get("step") or 0) > 0 or state.get("momentum_buffer") is not None
        for state in optimizer.state.values()
        if isinstance(state, dict)
    )


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


def provide(session: Session) -> Parameters:
    """The parameters of the setup's model.

    Raises:
        Skip: they have no values.
    """
    if needs_fake(session.setup.model):
        raise Skip("the model is on the meta device: its parameters have no values")
    return Parameters.from_setup(session.setup)
