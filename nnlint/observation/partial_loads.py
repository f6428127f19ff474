"""State dicts that a script loaded with `strict=False`, and whose names did not fit: what stayed at its random values."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nnlint.finding import Location
from nnlint.setup.target.checkpoint import LoadedWeights


@dataclass(frozen=True)
class PartialLoad:
    """One call of `load_state_dict` that left tensors out.

    Attributes:
        module: the module it was called on.
        location: the script's line.
        renamed: tensors of the module that the state dict has under another prefix, of the same shape: name -> its name there.
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
    if not renamed:
        return None
    loaded = tuple(name for name in given if name not in unexpected)
    return PartialLoad(weakref.ref(module), location, renamed, loaded)


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


def _is_alike(one: object, other: object) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape
