"""`--weights FILE`: a checkpoint loaded into the model, safely, and what did not fit."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnlint.finding import Location
from nnlint.setup.adapters.huggingface import expected_missing, expected_unexpected
from nnlint.setup.errors import SetupError
from nnlint.setup.training_setup import TrainingSetup

#: Keys under which training scripts and frameworks put the model's weights in a checkpoint.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "state")
#: Prefixes that wrappers add to every name: DataParallel, torch.compile, a LightningModule around the model.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")
_NESTED_WRAPPERS = 3
#: Checkpoints from before torch 0.4.1 lack it, and torch fills it in.
_COUNTER = "num_batches_tracked"
_WRITTEN_BY = "name a file that torch.save(model.state_dict(), file) or safetensors wrote"
_REFUSED = re.compile(r"(?:Unsupported global: GLOBAL|GLOBAL) ([\w.]+)")


@dataclass(frozen=True)
class LoadedWeights:
    """What loading a checkpoint left undone.

    Attributes:
        file: the checkpoint.
        loaded: names that were copied.
        missing: parameters and buffers of the model without a value in the checkpoint.
        unexpected: names in the checkpoint that the model lacks.
        mismatched: names whose shapes differ, with both shapes: `fc.weight: 10x512, the model has 5x512`.
        before: the values that were overwritten.
        location: the user's line that loaded it, where it was observed.
    """

    file: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: Mapping[str, str]
    before: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    location: Location | None = None

    def undo(self, model: nn.Module) -> None:
        """Put the values back that the checkpoint has overwritten."""
        if self.before:
            model.load_state_dict(dict(self.before), strict=False)


def with_weights(setup: TrainingSetup, file: str, base: Path) -> TrainingSetup:
    """Load the checkpoint into the setup's model.

    Pickled checkpoints are read with `weights_only=True`: they cannot run code.

    Raises:
        SetupError: RUN001, when the file cannot be read or holds no weights of the model.
    """
    path = Path(file) if Path(file).is_absolute() else base / file
    model = setup.model
    target = model.state_dict()
    state = _renamed(_read(path), target, model)
    fitting = {name: value for name, value in state.items() if name in target and target[name].shape == value.shape}
    if not fitting:
        theirs, ours = ", ".join(list(state)[:3]), ", ".join(list(target)[:3])
        message = f"no tensor of {path} fits the model: it has {theirs}, ...; the model has {ours}, ..."
        raise SetupError("RUN001", message, fix="name the checkpoint of this model")
    before = {name: target[name].detach().clone() for name in fitting}
    try:
        model.load_state_dict(fitting, strict=False)
    except Exception as error:
        message = f"{path} cannot be loaded into the model: {type(error).__name__}: {error}"
        raise SetupError("RUN001", message, fix="make model.load_state_dict(...) work without nnlint first") from error
    return setup.model_copy(update={"weights": _report(str(file), model, state, target, before)})


def _report(
    file: str, model: nn.Module, state: Mapping[str, Any], target: Mapping[str, Any], before: Mapping[str, torch.Tensor]
) -> LoadedWeights:
    mismatched = {
        name: f"{_shape(state[name])}, the model has {_shape(target[name])}"
        for name in state
        if name in target and name not in before
    }
    tied = _tied_names(model, before)
    absent = (name for name in target if name not in before and name not in mismatched and name not in tied)
    missing = (name for name in absent if not (name.endswith(_COUNTER) or expected_missing(model, name)))
    unknown = (name for name in state if name not in target and not expected_unexpected(model, name))
    return LoadedWeights(file, tuple(before), tuple(missing), tuple(unknown), mismatched, before)


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _tied_names(model: nn.Module, loaded: Mapping[str, Any]) -> frozenset[str]:
    """Names of tensors that were loaded under another name: a head that shares the embedding's matrix."""
    named = dict(model.named_parameters(remove_duplicate=False))
    held = {id(named[name]) for name in loaded if name in named}
    return frozenset(name for name, tensor in named.items() if id(tensor) in held)


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        what = "is a folder, not a file of weights" if path.is_dir() else "not found"
        raise SetupError("RUN001", f"the weights file {path} {what}", fix=_WRITTEN_BY)
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except SetupError:
        raise
    except pickle.UnpicklingError as error:
        raise SetupError("RUN001", _refusal(path, str(error)), fix=_WRITTEN_BY) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        message = f"{path} cannot be read as weights: {type(error).__name__}: {reason}"
        raise SetupError("RUN001", message, fix=_WRITTEN_BY) from error
    return _tensors(found, path)


def _refusal(path: Path, reason: str) -> str:
    """Why torch would not unpickle the file, in words; its own message recommends to switch the protection off."""
    held = _REFUSED.search(reason)
    if held is None:
        return f"{path} cannot be read as weights: torch.save did not write it, or it is damaged"
    return f"{path} was not loaded: it holds a pickled {held[1]}, and unpickling that can run any code"


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors.torch import load_file
    except Exception as error:
        raise SetupError("RUN001", "safetensors is not installed", fix="pip install safetensors") from error
    loaded: dict[str, torch.Tensor] = load_file(str(path))
    return loaded


def _tensors(found: Any, path: Path) -> dict[str, torch.Tensor]:
    while isinstance(found, Mapping):
        tensors = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
        inner = next((found[key] for key in _NESTED if isinstance(found.get(key), Mapping)), None)
        if tensors and inner is None:
            return tensors
        found = inner
    raise SetupError("RUN001", f"{path} holds no state dict", fix=_WRITTEN_BY)


def _renamed(state: Mapping[str, torch.Tensor], target: Mapping[str, Any], model: nn.Module) -> dict[str, torch.Tensor]:
    """The names that fit the model best, with the prefixes of wrappers taken off or that of a base model put on."""

    def fitting(names: Mapping[str, Any]) -> int:
        return len(names.keys() & target.keys())

    best = max(_unwrapped(dict(state), depth=_NESTED_WRAPPERS), key=fitting)
    base = getattr(model, "base_model_prefix", "")
    if isinstance(base, str) and base:
        put_on = {name if name.startswith(f"{base}.") else f"{base}.{name}": value for name, value in best.items()}
        best = max(best, put_on, _without(best, f"{base}."), key=fitting)
    return best


def _unwrapped(state: dict[str, torch.Tensor], depth: int) -> Iterator[dict[str, torch.Tensor]]:
    """The state as it is, then without the prefixes of wrappers, each in the other."""
    yield state
    for prefix in _WRAPPERS if depth else ():
        if any(name.startswith(prefix) for name in state):
            yield from _unwrapped(_without(state, prefix), depth - 1)


def _without(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    # What does not carry the prefix (a metric beside the model) keeps its name.
    return {name.removeprefix(prefix): value for name, value in state.items()}
