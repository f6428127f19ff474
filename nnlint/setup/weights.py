"""`--weights FILE`: a checkpoint loaded into the model, safely, and what did not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnlint.setup.errors import SetupError
from nnlint.setup.training_setup import TrainingSetup

#: Keys under which training scripts and frameworks put the model's weights in a checkpoint.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "module", "weights")
#: Prefixes that wrappers add to every name: DataParallel, torch.compile, Lightning.
_WRAPPERS = ("module.", "_orig_mod.", "model.")


@dataclass(frozen=True)
class LoadedWeights:
    """What loading a checkpoint left undone.

    Attributes:
        file: the checkpoint.
        loaded: names that were copied.
        missing: parameters and buffers of the model without a value in the checkpoint.
        unexpected: names in the checkpoint that the model lacks.
        mismatched: names whose shapes differ.
    """

    file: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]


def with_weights(setup: TrainingSetup, file: str, base: Path) -> TrainingSetup:
    """Load the checkpoint into the setup's model.

    Pickled checkpoints are read with `weights_only=True`: they cannot run code.

    Raises:
        SetupError: RUN001, when the file cannot be read or holds no weights.
    """
    path = Path(file) if Path(file).is_absolute() else base / file
    state = _read(path)
    target = setup.model.state_dict()
    state = _unwrapped(state, target)
    fitting = {name: value for name, value in state.items() if name in target and target[name].shape == value.shape}
    if not fitting:
        raise SetupError("RUN001", f"no tensor of {path} fits the model: its names begin {', '.join(list(state)[:3])}")
    setup.model.load_state_dict(fitting, strict=False)
    report = LoadedWeights(
        file=str(file),
        loaded=tuple(fitting),
        missing=tuple(name for name in target if name not in fitting and not _is_tied(setup.model, name, fitting)),
        unexpected=tuple(name for name in state if name not in target),
        mismatched=tuple(name for name in state if name in target and name not in fitting),
    )
    return setup.model_copy(update={"weights": report})


def _is_tied(model: nn.Module, name: str, loaded: Mapping[str, Any]) -> bool:
    """Whether the tensor is the same object as one that was loaded under another name."""
    named = dict(model.named_parameters(remove_duplicate=False))
    tensor = named.get(name)
    return tensor is not None and any(named.get(other) is tensor for other in loaded)


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise SetupError("RUN001", f"no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except SetupError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        message = f"{path} cannot be read as weights (weights_only=True): {type(error).__name__}: {reason}"
        raise SetupError("RUN001", message) from error
    return _tensors(found, path)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors.torch import load_file
    except Exception as error:
        raise SetupError("RUN001", "safetensors is not installed: pip install safetensors") from error
    loaded: dict[str, torch.Tensor] = load_file(str(path))
    return loaded


def _tensors(found: Any, path: Path) -> dict[str, torch.Tensor]:
    while isinstance(found, Mapping):
        tensors = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
        inner = next((found[key] for key in _NESTED if isinstance(found.get(key), Mapping)), None)
        if tensors and inner is None:
            return tensors
        found = inner
    raise SetupError("RUN001", f"{path} holds no state dict: save model.state_dict()")


def _unwrapped(state: Mapping[str, torch.Tensor], target: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Names without the prefix of a wrapper, where more of them fit the model that way."""
    best = dict(state)
    for prefix in _WRAPPERS:
        stripped = {name.removeprefix(prefix): value for name, value in best.items()}
        if len(stripped.keys() & target.keys()) > len(best.keys() & target.keys()):
            best = stripped
    return best
