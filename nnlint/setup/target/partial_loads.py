"""State dicts that were loaded with `strict=False`, and whose names did not fit: what stayed at its random values."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from nnlint.capture.torch_private import patched_load_state_dict, version
from nnlint.finding import Location
from nnlint.frames import construction_line
from nnlint.setup.target.checkpoint import LoadedWeights

if TYPE_CHECKING:
    from typing_extensions import Self

    from nnlint.setup.training_setup import TrainingSetup

#: Tensors from which a part that fits another in all names and shapes is that part. No calibration: two layers with biases.
_PART = 4


@dataclass(frozen=True)
class PartialLoad:
    """One call of `load_state_dict` that left tensors out.

    Attributes:
        module: the module it was called on.
        location: the user's line.
        renamed: tensors of the module that the state dict has under another prefix, or first component, of the same shape: name ->
            its name there.
        loaded: names that were copied.
    """

    module: weakref.ref[nn.Module]
    location: Location | None
    renamed: Mapping[str, str]
    loaded: tuple[str, ...]


def partial_load(module: nn.Module, given: Any, result: Any, location: Location | None) -> PartialLoad | None:
    """What a call left out because of its names; None where it loaded everything, or left other things out on purpose."""
    missing, unexpected = getattr(result, "missing_keys", ()), getattr(result, "unexpected_keys", ())
    if not missing or not unexpected or not isinstance(given, Mapping):
        return None
    own = dict([*module.named_parameters(), *module.named_buffers()])
    renamed = {
        name: other
        for name in missing
        for other in unexpected
        if (other.endswith(f".{name}") or name.endswith(f".{other}")) and _is_alike(own.get(name), given.get(other))
    }
    renamed = renamed or _under_another_name(missing, unexpected, own, given)
    if not renamed:
        return None
    loaded = tuple(name for name in given if name not in unexpected)
    return PartialLoad(weakref.ref(module), location, renamed, loaded)


class WeightLoads:
    """Records, while it is entered, the calls of `load_state_dict` that left tensors out because of their names."""

    def __init__(self) -> None:
        self._found: list[tuple[PartialLoad, Mapping[str, tuple[int, int | None]]]] = []
        self._entered: list[AbstractContextManager[None]] = []

    def __enter__(self) -> Self:
        self._entered.append(patched_load_state_dict(self._recording))
        self._entered[-1].__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, trace)

    def _recording(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def load_state_dict(module: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(module, state_dict, *args, **kwargs)
            load = partial_load(module, state_dict, result, construction_line(self, inspect.currentframe()))
            if load is not None:
                self._found.append((load, _writes(module, load)))
            return result

        return load_state_dict

    def known_to(self, setup: TrainingSetup) -> TrainingSetup:
        """The setup with what its model was not given, and nothing wrote to since."""
        left = []
        for load, writes in self._found:
            module = load.module()
            now = _writes(module, load) if module is not None else {}
            renamed = {name: other for name, other in load.renamed.items() if now.get(name) == writes.get(name)}
            left += [replace(load, renamed=renamed)] if renamed else []
        weights = weights_of(left, setup.model)
        return setup if weights is None else setup.model_copy(update={"weights": weights})


def _writes(module: nn.Module, load: PartialLoad) -> dict[str, tuple[int, int | None]]:
    """Of each tensor that was left out, which it is and how often it was written to."""
    own = dict([*module.named_parameters(), *module.named_buffers()])
    return {name: (id(own[name]), version(own[name])) for name in load.renamed if name in own}


def weights_of(loads: Iterable[PartialLoad], model: nn.Module) -> LoadedWeights | None:
    """The last such call on a model or a part of it, with the names that the model gives."""
    paths = {id(module): path for path, module in model.named_modules()}
    for load in reversed(list(loads)):
        module = load.module()
        path = paths.get(id(module)) if module is not None else None
        if path is None:
            continue
        prefix = f"{path}." if path else ""
        return LoadedWeights(
            file=f"the state dict of {load.location.short}" if load.location is not None else "a state dict",
            loaded=tuple(f"{prefix}{name}" for name in load.loaded),
            missing=tuple(f"{prefix}{name}" for name in load.renamed),
            unexpected=tuple(load.renamed.values()),
            mismatched={},
            location=load.location,
        )
    return None


def _under_another_name(
    missing: Iterable[str], unexpected: Iterable[str], own: Mapping[str, object], given: Mapping[str, object]
) -> dict[str, str]:
    """Whole parts of the module that the state dict has, tensor for tensor, under another first component."""
    found: dict[str, str] = {}
    theirs = _by_first(unexpected)
    for first, names in _by_first(missing).items():
        for other in theirs:
            pairs = {name: other + name.removeprefix(first) for name in names}
            whole = len(pairs) >= _PART and {*pairs.values()} == theirs[other]
            if whole and all(_is_alike(own.get(name), given.get(there)) for name, there in pairs.items()):
                found |= pairs
    return found


def _by_first(names: Iterable[str]) -> dict[str, set[str]]:
    """Names by their first component."""
    parts: dict[str, set[str]] = {}
    for name in names:
        parts.setdefault(name.partition(".")[0], set()).add(name)
    return parts


def _is_alike(one: object, other: object) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape
