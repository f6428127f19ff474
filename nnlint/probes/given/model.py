"""Evidence `Model`: the module tree as built, and what the tree does not hold although its modules do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from nnlint.capture.torch_private import is_bookkeeping
from nnlint.finding import Location
from nnlint.frames import location_of
from nnlint.provenance import is_tool_file

if TYPE_CHECKING:
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup


@dataclass(frozen=True, eq=False)
class ModuleView:
    """One module of the tree.

    Attributes:
        module_path: the first path it is registered under, empty for the model itself.
        paths: every path it is registered under.
        type_name: its class name (that of the original class where a parametrization replaced it).
        qualified_type: the class with its python module.
        training: its training flag as handed over.
        parameters: qualified names of the parameters it owns directly.
        children: paths of the modules directly below.
    """

    module_path: str
    paths: tuple[str, ...]
    type_name: str
    qualified_type: str
    training: bool
    parameters: tuple[str, ...]
    children: tuple[str, ...]
    construction: Location | None
    _module: nn.Module = field(repr=False)

    @property
    def location(self) -> Location | None:
        """The line that constructed it; where that was not seen, the line where its class is defined."""
        return self.construction or _definition(type(self._module))

    @property
    def label(self) -> str:
        """What to call it in a message: `encoder.fc1 (Linear)`."""
        return f"{self.module_path} ({self.type_name})" if self.module_path else self.type_name

    def is_type(self, *names: str) -> bool:
        """Whether its class or a base of it has one of these names (`"BatchNorm2d"`, `"torch.nn.Module"`)."""
        return any(kind.__name__ in names or _qualified(kind) in names for kind in type(self._module).__mro__)

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the module (`"momentum"`, `"p"`, `"padding_idx"`); rules only read.

        Of a parametrized tensor the original is given: computing the tensor runs the parametrization, and spectral norm
        changes its state in that.
        """
        parametrized = getattr(self._module, "parametrizations", None)
        if isinstance(parametrized, nn.ModuleDict) and name in parametrized:
            held = parametrized[name]
            return getattr(held, "original", getattr(held, "original1", default))  # weight norm: length and direction
        return getattr(self._module, name, default)


@dataclass(frozen=True)
class Unregistered:
    """A module or Parameter that the tree does not hold: an optimizer over `parameters()` never sees it.

    Attributes:
        module_path: the module whose attribute leads to it.
        path: how it is reached from there, `layers[0]`.
        kind: "module" or "parameter".
        type_name: its class name.
        parameters: how many of its parameters (itself included) no registered module holds.
        values: how many numbers these parameters have.
    """

    module_path: str
    path: str
    kind: str
    type_name: str
    parameters: int
    values: int
    location: Location | None

    @property
    def label(self) -> str:
        """`encoder.layers[0] (Linear)`."""
        return f"{_join(self.module_path, self.path)} ({self.type_name})"


@dataclass(frozen=True)
class ModuleFlag:
    """An attribute set on a module as if modules had it: it has no effect there.

    Attributes:
        trainable: how many parameters below the module still require a gradient.
    """

    module_path: str
    name: str
    value: bool
    trainable: int
    location: Location | None
    label: str


class Model:
    """The module tree as built."""

    def __init__(self, model: nn.Module, construction: Mapping[str, Location] | None = None) -> None:
        self._model = model
        self._construction = construction or {}

    @classmethod
    def from_setup(cls, setup: TrainingSetup) -> Model:
        """The tree of the setup's model."""
        return cls(setup.model, setup.construction)

    @cached_property
    def modules(self) -> tuple[ModuleView, ...]:
        """Every module once, in the order of `named_modules()`; the first is the model itself."""
        paths: dict[int, list[str]] = {}
        found: dict[int, nn.Module] = {}
        for path, module in self._model.named_modules(remove_duplicate=False):
            paths.setdefault(id(module), []).append(path)
            found[id(module)] = module
        return tuple(self._view(found[key], tuple(where)) for key, where in paths.items())

    @property
    def root(self) -> ModuleView:
        """The model itself."""
        return self.modules[0]

    @cached_property
    def _by_path(self) -> dict[str, ModuleView]:
        return {path: view for view in self.modules for path in view.paths}

    def find(self, path: str) -> ModuleView | None:
        """The module registered under `path`, or None."""
        return self._by_path.get(path)

    def named(self, *names: str) -> tuple[ModuleView, ...]:
        """The modules of these types, sub-classes included."""
        return tuple(view for view in self.modules if view.is_type(*names))

    @property
    def shared(self) -> tuple[ModuleView, ...]:
        """Modules registered under more than one path."""
        return tuple(view for view in self.modules if len(view.paths) > 1 and view.module_path)

    @cached_property
    def unregistered(self) -> tuple[Unregistered, ...]:
        """Modules and Parameters that only lists, tuples, dicts and sets of registered modules hold."""
        seen = {id(module) for module in self._model.modules()}
        known = {id(parameter) for parameter in self._model.parameters()}
        found = []
        for view, path, value in self._held():
            if id(value) in seen or id(value) in known:
                continue
            if isinstance(value, nn.Module):
                seen.update(id(module) for module in value.modules())
                own = [parameter for parameter in value.parameters() if id(parameter) not in known]
            elif isinstance(value, nn.Parameter):
                own = [value]
            else:
                continue
            known.update(id(parameter) for parameter in own)
            kind = "module" if isinstance(value, nn.Module) else "parameter"
            values = sum(_numel(parameter) for parameter in own)
            name = type(value).__name__
            found.append(Unregistered(view.module_path, path, kind, name, len(own), values, view.location))
        return tuple(found)

    @cached_property
    def module_level_flags(self) -> tuple[ModuleFlag, ...]:
        """`module.requires_grad = ...`: a plain attribute, which freezes or unfreezes nothing."""
        found = []
        for view in self.modules:
            module = view._module
            value = vars(module).get("requires_grad")
            if isinstance(value, bool):
                trainable = sum(parameter.requires_grad for parameter in module.parameters())
                flag = ModuleFlag(view.module_path, "requires_grad", value, trainable, view.location, view.label)
                found.append(flag)
        return tuple(found)

    def _view(self, module: nn.Module, paths: tuple[str, ...]) -> ModuleView:
        path, kind = paths[0], _original_type(module)
        return ModuleView(
            module_path=path,
            paths=paths,
            type_name=kind.__name__,
            qualified_type=_qualified(kind),
            training=bool(module.training),
            parameters=tuple(_join(path, name) for name, _ in module.named_parameters(recurse=False)),
            children=tuple(_join(path, name) for name, _ in module.named_children()),
            construction=self._construction.get(path),
            _module=module,
        )

    def _held(self) -> Iterator[tuple[ModuleView, str, Any]]:
        """Every value that a registered module's attributes hold, with its path from there."""
        for view in self.modules:
            for name, value in vars(view._module).items():
                if not is_bookkeeping(name):
                    yield from ((view, path, item) for path, item in _items(value, name, set()))


def _items(value: Any, path: str, inside: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, nn.Module):
        # A module that is an attribute by itself was hidden on purpose: assignment registers.
        if inside:
            yield path, value
    elif isinstance(value, (list, tuple, dict, set, frozenset)) and id(value) not in inside:
        inside = inside | {id(value)}
        if isinstance(value, dict):
            for key, item in value.items():
                yield from _items(item, f"{path}[{key!r}]", inside)
        else:
            for index, item in enumerate(value):
                yield from _items(item, f"{path}[{index}]", inside)


def _original_type(module: nn.Module) -> type:
    """The class as the user wrote it: a parametrization derives one of its own from it."""
    kind = type(module)
    parametrized = kind.__module__ == "torch.nn.utils.parametrize" and kind.__name__.startswith("Parametrized")
    return kind.__mro__[1] if parametrized else kind


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _definition(kind: type) -> Location | None:
    """The line of the class's constructor or forward, if the class is the user's."""
    for name in ("__init__", "forward"):
        code = getattr(vars(kind).get(name), "__code__", None)
        if code is not None and not is_tool_file(code.co_filename):
            return location_of(code, code.co_firstlineno)
    return None


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _numel(parameter: Tensor) -> int:
    return 0 if isinstance(parameter, nn.parameter.UninitializedParameter) else parameter.numel()


def provide(session: Session) -> Model:
    """The modules of the setup's model."""
    return Model.from_setup(session.setup)
