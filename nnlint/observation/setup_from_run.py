"""From a player's first iteration to the training setup that a check runs on: the model, its inputs, the loss, the optimizer."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nnlint.finding import Location
from nnlint.observation.initial import Initial
from nnlint.observation.loaders import are_targets_read
from nnlint.observation.players import Loss, PlayerMaterial, Players
from nnlint.observation.reads import Read
from nnlint.observation.replay import Player, TapedLoss, TapedStep, input_numbers, make_model
from nnlint.observation.state import State, unwrapped
from nnlint.observation.tape import Call, Tape, slots_in
from nnlint.observation.torch_private import is_initialized
from nnlint.setup.adapters.huggingface import huggingface_changes, is_huggingface
from nnlint.setup.joined import joined
from nnlint.setup.target.partial_loads import weights_of
from nnlint.setup.training_setup import LABEL_KEYS, TrainingSetup
from nnlint.tensors import tensor_leaves

_LABELS = (*LABEL_KEYS, "label_ids", "tgt", "y_true")


class NoSetup(Exception):
    """No setup can be made of what the script did; the message says why."""


@dataclass
class Reconstructed:
    """A player's setup.

    Attributes:
        name: of the player in the report: the optimizer's variable.
        setup: the setup, or None.
        reason: why there is none.
        expected: the script's own first loss, to compare a replay with.
        replay: computes it again from the script's own values.
        lines: where the script calls the "model" and made the "optimizer".
        trainable: whether each known parameter required gradients as the player's first loss was made.
    """

    name: str
    setup: TrainingSetup | None = None
    reason: str | None = None
    expected: float | None = None
    replay: Any = None
    lines: dict[str, Location] = field(default_factory=dict)
    trainable: list[tuple[Tensor, bool]] = field(default_factory=list)


@dataclass
class _Parts:
    """The calls of a player's losses, divided."""

    tape: Tape
    owner: nn.Module
    model_calls: list[int]
    loss_calls: list[int]
    roots: list[int]


def reconstruct(players: Players, material: PlayerMaterial, state: State, loaders: dict[str, Any]) -> Reconstructed:
    """The setup of one player.

    Args:
        players: the taker, with its tape.
        material: the player's losses.
        state: knows the optimizers' names.
        loaders: `data`, `val_data` and `scheduler` for the setup, where they are known.
    """
    things = [thing for optimizer in material.optimizers if (thing := state.things.find(optimizer)) is not None]
    found = Reconstructed(" + ".join(dict.fromkeys(thing.called for thing in things)))
    first = material.losses[0]
    # A loss after another player's step cannot be had again: the state is kept as it was before all steps.
    found.expected = first.value if len(material.losses) == 1 and first.at_step == 0 else None
    flags = first.trainable
    found.trainable = [(tensor, flags[known.key]) for known, tensor in state.things.alive() if known.key in flags]
    try:
        own = _own_parameters(state, material)
        parts = _divided(players.tape, material.losses, own)
        called = players.tape.calls[max(parts.model_calls)].location
        made = things[0].location if things else None
        found.lines = {name: line for name, line in (("model", called), ("optimizer", made)) if line is not None}
        setup = _setup(parts, material, players.initial, loaders)
        if not are_targets_read(state.journal.of(Read), [tensor for _, tensor in tensor_leaves(setup.targets)]):
            setup = setup.model_copy(update={"data": None, "val_data": None})
        found.setup = setup.model_copy(update={"weights": weights_of(state.loads, setup.model)})
        found.replay = lambda: replayed(players.tape, material.losses)
    except NoSetup as reason:
        found.reason = str(reason)
    return found


def replayed(tape: Tape, losses: list[Loss]) -> float:
    """The script's own loss, computed again from its own values and random states."""
    calls = sorted({position for loss in losses for position in loss.calls})
    values = Player(tape, restores_randomness=True).run(calls, {})
    return sum(float(values[loss.number].detach()) for loss in losses)


def _own_parameters(state: State, material: PlayerMaterial) -> list[Tensor]:
    """The parameters of the player that its losses reach."""
    reached = {key for loss in material.losses for key in loss.reached}
    keys = {key for optimizer in material.optimizers for key in state.parameters_of(optimizer)} or reached
    tensors = (state.things.parameters[key].tensor() for key in reached if key in keys)
    return [tensor for tensor in tensors if tensor is not None]


# -------------------------------------------------------------------- the owner and its calls


def _divided(tape: Tape, losses: list[Loss], own: list[Tensor]) -> _Parts:
    """Which calls are the model, and which are the loss."""
    calls = sorted({position for loss in losses for position in loss.calls})
    wanted = {id(tensor) for tensor in own}
    models = [position for position in calls if _holds(tape.calls[position], wanted)]
    if not models:
        raise NoSetup("no module call that the loss depends on holds the optimizer's parameters")
    if any(tape.calls[position].swapped for position in calls):
        raise NoSetup("a module is called with other parameters than its own (torch.func.functional_call)")
    owner = _owner([tape.calls[position].function for position in models], wanted)
    before = [position for position in calls if position <= max(models) and _leads_to(tape, position, models)]
    roots = [loss.number for loss in losses]
    return _Parts(tape, owner, before, _behind(tape, roots, before), roots)


def _behind(tape: Tape, roots: list[int], before: list[int]) -> list[int]:
    """The calls that the losses need once the model's values are known."""
    known = {number for position in before for number in tape.calls[position].outputs} | set(_entering(tape, before))
    waiting, needed = [root for root in roots if root not in known], set[int]()
    while waiting:
        position = _made_by(tape, waiting.pop())
        if position is not None and position not in needed:
            needed.add(position)
            waiting += [number for number in input_numbers([tape.calls[position]]) if number not in known]
    return sorted(needed)


def _holds(call: Call, wanted: set[int]) -> bool:
    return call.is_module and any(id(parameter) in wanted for parameter in call.function.parameters())


def _leads_to(tape: Tape, position: int, models: list[int]) -> bool:
    """Whether a call is one of the model's, or carries values from one of them into another."""
    if position in models:
        return True
    after = {number for later in models if later > position for number in input_numbers([tape.calls[later]])}
    feeds = _closure(tape, after)
    comes = any(
        _made_by(tape, number) in models for number in _closure(tape, set(input_numbers([tape.calls[position]])))
    )
    return comes and any(number in feeds for number in tape.calls[position].outputs)


def _closure(tape: Tape, numbers: set[int]) -> set[int]:
    """The numbers and all that they are computed from."""
    waiting, seen = list(numbers), set(numbers)
    while waiting:
        position = _made_by(tape, waiting.pop())
        if position is None:
            continue
        for number in input_numbers([tape.calls[position]]):
            if number not in seen:
                seen.add(number)
                waiting.append(number)
    return seen


def _made_by(tape: Tape, number: int) -> int | None:
    return tape.values[number].made_by


def _owner(called: list[nn.Module], wanted: set[int]) -> nn.Module:
    """The smallest module that has all of the parameters: one that was called, else one that lives in this process."""
    for candidates in (called, _living_modules()):
        fitting = [module for module in candidates if wanted <= {id(parameter) for parameter in module.parameters()}]
        if fitting:
            return unwrapped(min(fitting, key=lambda module: sum(1 for _ in module.parameters())))[0]
    return nn.ModuleDict({f"{type(module).__name__}{index}": module for index, module in enumerate(_distinct(called))})


def _distinct(modules: Iterable[nn.Module]) -> list[nn.Module]:
    return list({id(module): module for module in modules}.values())


def _living_modules() -> Iterator[nn.Module]:
    """Every module of the process; by class, since proxies may answer `isinstance` with an import."""
    for found in gc.get_objects():
        if issubclass(type(found), nn.Module) and is_initialized(found):
            yield found


# -------------------------------------------------------------------- the setup


def _setup(parts: _Parts, material: PlayerMaterial, initial: Initial, loaders: dict[str, Any]) -> TrainingSetup:
    if any(type(parameter).__name__ == "DTensor" for parameter in parts.owner.parameters()):
        raise NoSetup("its parameters are sharded over processes")
    initial.keep(parts.owner)
    tape, calls = parts.tape, parts.tape.calls
    only = calls[parts.model_calls[0]] if len(parts.model_calls) == 1 else None
    if only is not None and only.function is parts.owner:
        model, (inputs, numbers) = parts.owner, _inputs_of(tape, only)
        outputs = list(only.outputs)
    else:
        numbers = _entering(tape, parts.model_calls)
        outputs = _leaving(tape, parts)
        inputs = tuple(_value(tape, number) for number in numbers)
        model = make_model(parts.owner, tape, parts.model_calls, inputs=numbers, outputs=outputs)
    model.training = parts.owner.training if only is None else only.training
    targets = _targets(tape, parts, set(outputs))
    loss = TapedLoss(tape, parts.loss_calls, outputs=outputs, targets=targets, roots=parts.roots)
    fields: dict[str, Any] = {"model": model, "inputs": inputs, "optimizer": joined(material.optimizers), **loaders}
    needs_inputs = set(input_numbers(calls[position] for position in parts.loss_calls)) & set(numbers)
    if needs_inputs:
        fields["own_loss"] = TapedStep(loss, numbers)
    elif not material.has_loss:
        pass
    elif parts.loss_calls or not _is_loss_in_output(only):
        fields["loss"] = loss
    found = [_value(tape, number) for number in targets] or _labels_among(inputs)
    if found:
        fields["targets"] = found[0] if len(found) == 1 else tuple(found)
    fields |= _precision(calls[position] for position in parts.model_calls)
    setup = TrainingSetup(**fields)
    return setup.model_copy(update=huggingface_changes(setup)) if is_huggingface(model) else setup


def _inputs_of(tape: Tape, call: Call) -> tuple[Any, list[int]]:
    """The inputs of a single call as a setup gives them, and the numbers of their tensors in that order."""
    args, kwargs = _bound(call)
    given: Any = kwargs or args
    numbers = [slot.number for slot in slots_in(given)]
    filled = Player(tape)._filled(given, {number: _value(tape, number) for number in numbers})
    if isinstance(filled, tuple) and len(filled) == 1 and isinstance(filled[0], Tensor):
        return filled[0], numbers
    return filled, numbers


def _bound(call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional or keyword arguments alone: a setup has either."""
    if not call.kwargs or not call.args:
        return call.args, dict(call.kwargs)
    try:
        bound = inspect.signature(call.function.forward).bind(*call.args, **call.kwargs)
    except (TypeError, ValueError) as error:
        raise NoSetup(
            "the model is called with positional and keyword arguments that do not fit its forward"
        ) from error
    if bound.args and any(p.kind is p.VAR_POSITIONAL for p in bound.signature.parameters.values()):
        raise NoSetup("the model is called with *args and keyword arguments")
    names = {}
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            names.update(value)
        else:
            names[name] = value
    return (), names


def _value(tape: Tape, number: int) -> Tensor:
    """The tensor that a number stood for as it entered a call."""
    value = tape.values[number]
    found = value.given if value.given is not None else value.entered
    if found is None:
        raise NoSetup("an input of the model was computed by it before")
    # A gradient penalty differentiates by what another network made: here it is an input.
    is_needed = value.given is None and not found.requires_grad and number in tape.differentiated()
    return found.detach().clone().requires_grad_() if is_needed else found


def _entering(tape: Tape, calls: list[int]) -> list[int]:
    """Numbers of the tensors that come into the model's calls from outside of them."""
    made = {number for position in calls for number in tape.calls[position].outputs}
    return [number for number in input_numbers(tape.calls[position] for position in calls) if number not in made]


def _leaving(tape: Tape, parts: _Parts) -> list[int]:
    """Numbers of the model's values that the loss is computed from."""
    made = {number for position in parts.model_calls for number in tape.calls[position].outputs}
    used = [*input_numbers(tape.calls[position] for position in parts.loss_calls), *parts.roots]
    return list(dict.fromkeys(number for number in used if number in made))


def _targets(tape: Tape, parts: _Parts, outputs: set[int]) -> list[int]:
    """Tensors from outside that the loss compares with: as many samples as a value beside them."""
    found: dict[int, None] = {}
    for position in parts.loss_calls:
        call = tape.calls[position]
        if call.function is torch.autograd.grad:
            continue
        numbers = input_numbers([call])
        lengths = {_length(tape, number) for number in numbers if tape.values[number].given is None}
        for number in numbers:
            value = tape.values[number]
            if value.given is None or value.is_input or number in outputs:
                continue
            if value.given.dim() and value.given.numel() > 1 and len(value.given) in lengths:
                found[number] = None
    return list(found)


def _length(tape: Tape, number: int) -> int | None:
    shape = tape.values[number].shape
    return shape[0] if shape else None


def _labels_among(inputs: Any) -> list[Tensor]:
    """Labels that the model itself takes."""
    if not isinstance(inputs, dict):
        return []
    return [value for name, value in inputs.items() if name in _LABELS and isinstance(value, Tensor)][:1]


def _is_loss_in_output(call: Call | None) -> bool:
    """Whether the model puts the loss into its output where a setup finds it."""
    return call is not None and call.loss_in_output


def _precision(calls: Iterable[Call]) -> dict[str, Any]:
    kinds = {dtype for call in calls for _, dtype in call.circumstances.autocast}
    if torch.float16 in kinds:
        return {"precision": "fp16"}
    return {"precision": "bf16"} if torch.bfloat16 in kinds else {}
