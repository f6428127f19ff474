"""The forms a training setup may be given in: what `build_fn` returns, or what is passed to the Python API."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from nnlint.frames import format_trace, is_fatal, location_of_exception, text_of
from nnlint.seeding import seeded
from nnlint.setup.adapters.huggingface import is_huggingface
from nnlint.setup.adapters.lightning import is_data_module, loaders_of
from nnlint.setup.adapters.tokenizers import TOKENIZER_KEYS
from nnlint.setup.adapters.trainers import is_trainer
from nnlint.setup.adapters.transformers_trainer import TRAINER_KEYS, fields_with_trainers, is_transformers_trainer
from nnlint.setup.errors import SetupError, SeveralPlayers
from nnlint.setup.inputs.signature import ForwardSignature
from nnlint.setup.inspection import inspect_model
from nnlint.setup.losses import named_loss
from nnlint.setup.sharded import whole
from nnlint.setup.target.construction_sites import ConstructionSites
from nnlint.setup.target.keys import meant_by
from nnlint.setup.training_setup import TrainingSetup
from nnlint.setup.wrappers import unwrapped
from nnlint.tensors import describe

ACCEPTED = (
    "accepted are a torch.nn.Module, a dict with the key 'model', a tuple such as (model, inputs) or "
    "(model, loss, loader), and nnlint.TrainingSetup(...)"
)
#: What nnlint fills in itself, and no dict may.
_INTERNAL = frozenset(
    {"assumptions", "inputs_assumed", "targets_assumed", "construction", "weights", "taken_from", "libraries"}
)
_KEYS = tuple(name for name in TrainingSetup.model_fields if name not in _INTERNAL)


def build(function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], *, name: str, seed: int) -> Any:
    """Call the user's `function` under a seed, and turn whatever it raises into a SetupError.

    Raises:
        SetupError: RUN001, when arguments are missing or unknown, or the function raises or exits.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        signature = None
    if signature is not None:
        _check_arguments(signature, args, kwargs, name)
    try:
        with seeded(seed):
            return function(*args, **kwargs)
    except SetupError:
        raise
    except SystemExit as error:
        message = f"{name}() called sys.exit({error.code!r}) instead of returning a model"
        raise _raised(error, message, fix="return the model instead") from error
    except ModuleNotFoundError as error:
        # A library that imports lazily names what it failed at in words of its own.
        missing = (
            f"needs the package {error.name!r}, which is not installed" if error.name else f"cannot import: {error}"
        )
        fix = f"install it for {sys.executable}" if error.name else ""
        raise _raised(error, f"{name}() {missing}", fix=fix) from error
    except ValidationError as error:
        raise _raised(error, f"{name}() raised an error: {_validation_text(error)}") from error
    except BaseException as error:
        if is_fatal(error):
            raise
        raise _raised(error, f"{name}() raised {type(error).__name__}: {text_of(error)}") from error


def build_without_weights(
    function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], *, name: str, seed: int
) -> Any:
    """What `function` makes, on the meta device: shapes alone, no memory. Built for real where it needs values while it builds.

    Raises:
        SetupError: as `build`.
    """
    try:
        with torch.device("meta"):
            return build(function, args, kwargs, name=name, seed=seed)
    except SetupError:
        # The error of a real build is the one to show: of the user's values, not of missing ones.
        return build(function, args, kwargs, name=name, seed=seed)


def _raised(error: BaseException, message: str, *, fix: str = "") -> SetupError:
    found, trace = location_of_exception(error), format_trace(error)
    fix = fix or "make the build function run without nnlint first"
    return SetupError("RUN001", message, location=found, trace=trace, fix=fix)


def _check_arguments(signature: inspect.Signature, args: Any, kwargs: Mapping[str, Any], name: str) -> None:
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        reason = str(error)
    else:
        return
    bound = signature.bind_partial().arguments if not (args or kwargs) else {*kwargs}
    required = [
        p.name
        for index, p in enumerate(signature.parameters.values())
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        and p.name not in bound and index >= len(args)
    ]  # fmt: skip
    if required:
        example = ", ".join(f"{parameter}=..." for parameter in required)
        message = f"{name}{signature} needs arguments that were not given: {', '.join(required)}"
        raise SetupError("RUN001", message, fix=f"write {name}({example})")
    message = f"{name}{signature} does not take the arguments given: {reason}"
    raise SetupError("RUN001", message, fix=f"write the arguments that {name}{signature} has")


def to_setup(value: Any, *, sites: ConstructionSites | None = None, origin: str = "") -> TrainingSetup:
    """The setup that `value` spells out, without anything inferred.

    Args:
        value: one of the accepted forms.
        sites: where the modules were constructed, if that was recorded.
        origin: what gave the value, to begin the error message with: "build() returned".

    Raises:
        SetupError: RUN001, naming what was given and what is accepted; RUN010 where the model cannot be looked at.
        SeveralPlayers: `value` is a dict of players, each with a setup.
    """
    if isinstance(value, Mapping) and "players" in value:
        raise _players(value, sites, origin or "the target is")
    setup = unwrapped(_converted(value, origin or "the target is"))
    inspect_model(setup.model)
    construction = sites.by_path(setup.model) if sites is not None else {}
    return whole(setup.model_copy(update={"construction": construction}) if construction else setup)


def _players(value: Mapping[Any, Any], sites: ConstructionSites | None, origin: str) -> SetupError:
    """The setups of `{"players": {"generator": setup, ...}}`, as what is raised for them; an error where it is no such dict."""
    players = value["players"]
    beside = [str(key) for key in value if key != "players"]
    fix = 'write {"players": {"generator": {"model": ...}, "discriminator": {"model": ...}}}: each with its own setup'
    if beside:
        fault = f"{origin} a dict with 'players' and, beside it, {', '.join(beside)}: put them into the setup of the player that needs them"
        return SetupError("RUN001", fault, fix=fix)
    if not isinstance(players, Mapping) or not players:
        return SetupError(
            "RUN001", f"{origin} a dict whose 'players' is {describe(players)}, not a dict of setups", fix=fix
        )
    found: dict[str, TrainingSetup | SetupError] = {}
    for name, part in players.items():
        try:
            found[str(name)] = to_setup(part, sites=sites, origin=f"the player {name!r} is")
        except SeveralPlayers:
            found[str(name)] = SetupError("RUN001", f"the player {name!r} holds players itself", fix=fix)
        except SetupError as error:
            found[str(name)] = error
    return SeveralPlayers(found)


def _converted(value: Any, origin: str) -> TrainingSetup:
    if isinstance(value, TrainingSetup):
        return value
    if isinstance(value, nn.Module):
        return _validated({"model": value}, origin)
    if isinstance(value, Mapping):
        return _from_mapping(value, origin)
    if is_transformers_trainer(value):
        return _validated(fields_with_trainers({}, [value]), origin)
    if isinstance(value, tuple):
        return _validated(_sniffed(value, origin), origin)
    hint = ""
    if value is None:
        hint = " (is a `return` missing?)"
    elif isinstance(value, type) and issubclass(value, nn.Module):
        hint = f" (the class, not an instance: write {value.__name__}(...))"
    elif inspect.iscoroutine(value):
        value.close()
        hint = " (write a plain `def`, without `async`)"
    elif isinstance(value, list):
        hint = " (a tuple, not a list, holds several parts)"
    raise SetupError("RUN001", f"{origin} {describe(value)}{hint}; {ACCEPTED}")


def _from_mapping(value: Mapping[Any, Any], origin: str) -> TrainingSetup:
    trainers = [part for part in value.values() if is_trainer(part)]
    named = {key: part for key, part in value.items() if not is_trainer(part)}
    known = {*_KEYS, *TRAINER_KEYS} if trainers or is_huggingface(named.get("model")) else {*_KEYS, *TOKENIZER_KEYS}
    for key, part in named.items():
        if key not in known:
            raise _unknown(key, part, origin)
    parts = fields_with_trainers(named, trainers)
    if "model" not in parts:
        raise SetupError("RUN001", f"{origin} {describe(value)}, without the key 'model'; {ACCEPTED}")
    if is_data_module(parts.get("data")):
        parts |= loaders_of(parts.pop("data"))
    if isinstance(parts.get("loss"), str):
        parts["loss"] = named_loss(parts["loss"])
    return _validated(parts, origin)


def _unknown(key: Any, part: Any, origin: str) -> SetupError:
    """The error for a key that no setup has, with the one it stands for."""
    held = ("loss",) if _is_loss_module(part) else _fields_for(part) if not isinstance(part, (str, nn.Module)) else ()
    meant = meant_by(str(key), (*_KEYS, "players"), () if isinstance(part, torch.Tensor) else held)
    hint = f"; did you mean {meant!r}?" if meant else ""
    fix = f"write {meant!r} for {key!r}" if meant else f"remove {key!r}: nnlint does not use it"
    message = f"{origin} a dict with the unknown key {key!r}{hint} (known: {', '.join(_KEYS)})"
    return SetupError("RUN001", message, fix=fix)


def _validated(parts: Mapping[str, Any], origin: str) -> TrainingSetup:
    try:
        return TrainingSetup(**parts)
    except ValidationError as error:
        raise SetupError("RUN001", f"{origin} a setup that is not valid: {_validation_text(error)}") from error


def _validation_text(error: ValidationError) -> str:
    """Pydantic's errors as a user reads them: the field, what was given, what is accepted."""
    texts = []
    for item in error.errors(include_url=False):
        path = ".".join(map(str, item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        texts.append(message if item["type"] == "value_error" else f"{path}: {message}, got {describe(item['input'])}")
    return "; ".join(texts)


def _sniffed(parts: tuple[Any, ...], origin: str) -> dict[str, Any]:
    """The fields that the elements of a tuple are, told by their types."""
    model = next((p for p in parts if isinstance(p, nn.Module) and not _is_loss_module(p)), None)
    if model is None:
        raise SetupError("RUN001", f"{origin} {describe(parts)}, without a model in it; {ACCEPTED}")
    fields: dict[str, Any] = {"model": model}
    trainers: list[Any] = []
    for part in parts:
        if part is None or part is model:
            continue
        if is_data_module(part):
            fields |= loaders_of(part)
            continue
        if is_trainer(part):
            trainers.append(part)
            continue
        if _is_collator(part):
            fields["data_collator"] = part
            continue
        for name in _fields_for(part):
            if name not in fields:
                fields[name] = part
                break
        else:
            raise SetupError(
                "RUN001", f"{origin} {describe(parts)}: it is unclear what {describe(part)} is; write a dict instead"
            )
    return _pair_split(fields_with_trainers(fields, trainers), model)


def _is_loss_module(value: Any) -> bool:
    if not isinstance(value, nn.Module):
        return False
    of_torch = any(base.__module__ == "torch.nn.modules.loss" for base in type(value).__mro__)
    return of_torch or type(value).__name__.endswith(("Loss", "Criterion"))


def _fields_for(part: Any) -> tuple[str, ...]:
    """The fields an element of a tuple can be, likeliest first."""
    if isinstance(part, torch.optim.lr_scheduler.LRScheduler):
        return ("scheduler",)
    if _are_optimizers(part):
        return ("optimizer",)
    if isinstance(part, (torch.Tensor, tuple, Mapping)):
        return ("inputs", "targets")
    if isinstance(part, list):
        tensors = bool(part) and all(isinstance(item, torch.Tensor) for item in part)
        return ("inputs", "targets") if tensors else ("data", "val_data")
    if isinstance(part, torch.utils.data.Dataset):
        return ("data", "val_data")
    if callable(part):
        return ("loss",)
    if isinstance(part, Iterable) and not isinstance(part, (str, bytes)):
        return ("data", "val_data")
    return ()


def _is_collator(part: Any) -> bool:
    """Whether it makes batches: told by its name, as a function from a list of samples looks like a loss."""
    return callable(part) and "collat" in str(getattr(part, "__name__", type(part).__name__)).lower()


def _are_optimizers(part: Any) -> bool:
    """Whether it is an optimizer, bare or in a wrapper, or several in a list or dict."""
    if isinstance(part, (list, tuple, Mapping)):
        held = list(part.values() if isinstance(part, Mapping) else part)
        return bool(held) and all(_are_optimizers(one) for one in held)
    return isinstance(part, torch.optim.Optimizer) or isinstance(
        getattr(part, "optimizer", None), torch.optim.Optimizer
    )


def _pair_split(fields: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """(model, (x, y)): a pair for a model that takes one argument is inputs and targets."""
    pair = fields.get("inputs")
    takes_two = len(ForwardSignature.of(model).names) > 1 or ForwardSignature.of(model).open_ended
    if isinstance(pair, tuple) and len(pair) == 2 and "targets" not in fields and not takes_two:
        return {**fields, "inputs": pair[0], "targets": pair[1]}
    return fields
