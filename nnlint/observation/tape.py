"""The tape: what a script computes between the calls of its modules and its losses, so that it can be computed again.

A `TorchFunctionMode` at the bottom of the stack sees the torch calls that the script makes itself. Calls inside a module are not kept;
of the others, those that depend on the output of a module, or on an input of one, are. Tensors of other origin (targets, weights of
classes) are cloned when they are used, since scripts write to them later. Values are numbered; no result of the script is kept.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nnlint.capture.calls import QUIET
from nnlint.capture.torch_private import version, without_torch_function
from nnlint.finding import Location
from nnlint.frames import text_of
from nnlint.observation.cuda_graphs import is_capturing
from nnlint.observation.origins import Origins
from nnlint.observation.things import script_line
from nnlint.observation.torch_private import insert_function_mode, remove_function_mode
from nnlint.seeding import RandomStates
from nnlint.tensors import map_tensors, tensors_in

#: More calls than this are not replayed.
MOST_CALLS = 3_000
_QUIET = QUIET | {"numpy", "tolist", "item", "cpu_"}


@dataclass(frozen=True)
class Slot:
    """A value of the tape, by number."""

    number: int


@dataclass(frozen=True)
class Circumstances:
    """What was switched on when a call was made: autocast by device, and whether gradients were recorded."""

    autocast: tuple[tuple[str, torch.dtype], ...]
    records: bool

    @classmethod
    def now(cls) -> Circumstances:
        """As it is."""
        on = tuple(
            (kind, torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)
        )
        return cls(on, torch.is_grad_enabled())


@dataclass
class Call:
    """A call on the tape: a torch function, or a module whose inside is not recorded.

    Attributes:
        function: what was called; for a module, the module inside its wrappers.
        args: the arguments, each tensor of the tape as a `Slot`.
        kwargs: the same.
        outputs: numbers of the tensors in the result, in order.
        location: the script's line.
        circumstances: autocast and grad mode.
        random_state: of all generators as a module was called.
        training: the training flag of a module.
        loss_in_output: a module put the loss into its output, as those of transformers do.
        swapped: a module ran with other parameters than its own.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[int, ...]
    location: Location | None
    circumstances: Circumstances
    random_state: RandomStates | None = None
    training: bool = True
    loss_in_output: bool = False
    swapped: bool = False

    @property
    def is_module(self) -> bool:
        """Whether a module was called."""
        return isinstance(self.function, nn.Module)


@dataclass
class Value:
    """A number of the tape.

    Attributes:
        made_by: position of the call that made it; None for a tensor from outside.
        given: the clone of a tensor from outside.
        entered: a clone of a tensor that was computed on the tape and then went into a module.
        is_input: it went into a module.
        shape: its shape.
        version: how often a tensor from outside had been written to: its number stands for what it held then.
        live: the script's own tensor.
        records: it was computed with a graph.
        origin: the line that computed a tensor from outside, where it was seen.
    """

    made_by: int | None = None
    given: Tensor | None = None
    entered: Tensor | None = None
    is_input: bool = False
    shape: tuple[int, ...] = ()
    version: int = 0
    live: weakref.ref[Tensor] | None = None
    records: bool = True
    origin: Location | None = None


@dataclass
class Tape:
    """The calls in order and their values.

    Attributes:
        calls: the calls.
        values: what they take and make, by number.
        failure: the last call that raised, and what; it is not among the calls.
        origins: where tensors beside the model were computed.
    """

    calls: list[Call] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    failure: tuple[Call, str] | None = None
    origins: Origins = field(default_factory=Origins)
    _by_id: dict[int, int] = field(default_factory=dict)
    _entered: tuple[tuple[Any, ...], dict[str, Any], Circumstances, RandomStates, Location | None] | None = None

    def number_of(self, tensor: Tensor) -> int | None:
        """The number of a tensor that is on the tape."""
        number = self._by_id.get(id(tensor))
        if number is None:
            return None
        value = self.values[number]
        is_same = value.live is not None and value.live() is tensor
        return number if is_same and (value.made_by is not None or value.version == _version(tensor)) else None

    def made(self, tensor: Tensor, call: int) -> int:
        """Number the result of a call."""
        return self._enter(tensor, Value(made_by=call, records=tensor.requires_grad))

    def given(self, tensor: Tensor, *, is_input: bool) -> int:
        """Number a tensor from outside; its contents are kept as they are now."""
        number = self.number_of(tensor)
        if number is not None:
            value = self.values[number]
            if is_input and value.given is None and value.entered is None:
                value.entered = tensor.detach().clone().requires_grad_(tensor.requires_grad and tensor.is_leaf)
            value.is_input = value.is_input or is_input
            return number
        copy = tensor.detach().clone().requires_grad_(tensor.requires_grad)
        return self._enter(tensor, Value(given=copy, is_input=is_input, origin=self.origins.line_of(tensor)))

    def _enter(self, tensor: Tensor, value: Value) -> int:
        value.live, value.shape, value.version = weakref.ref(tensor), tuple(tensor.shape), _version(tensor)
        self.values.append(value)
        self._by_id[id(tensor)] = len(self.values) - 1
        return len(self.values) - 1

    def alias(self, tensor: Tensor, original: Tensor) -> None:
        """Take a tensor for another: a loss that a scaler has multiplied."""
        number = self.number_of(original)
        if number is not None:
            self._by_id[id(tensor)] = number
            self.values[number].live = weakref.ref(tensor)

    def kept(self, value: Any, *, is_input: bool = False) -> Any:
        """A nested argument with every tensor replaced: parameters stay the live ones, all others become slots."""

        def slot(tensor: Tensor) -> Any:
            if isinstance(tensor, nn.Parameter):
                return tensor
            return Slot(self.given(tensor, is_input=is_input))

        return map_tensors(slot, value)

    # ---------------------------------------------------------------- calls

    def enter(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, records: bool) -> None:
        """A module is called: its inputs are kept before it can change them."""
        now = Circumstances(Circumstances.now().autocast, records)
        kept = self.kept(args, is_input=True), self.kept(kwargs, is_input=True)
        self._entered = (*kept, now, RandomStates(), script_line())

    def leave(self, module: nn.Module, output: Any) -> None:
        """The module returned."""
        if self._entered is None:
            return
        args, kwargs, now, state, location = self._entered
        self._entered = None
        swapped = any(not parameter.is_leaf for parameter in module.parameters())
        found = _holds_loss(output)
        self._add(Call(module, args, kwargs, (), location, now, state, module.training, found, swapped), output)

    def add(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, now: Circumstances
    ) -> None:
        """A torch function was called; nothing is kept where it has nothing to do with the modules."""
        if any(map(self._depends, tensors_in((args, kwargs)))):
            self._add(Call(function, self.kept(args), self.kept(kwargs), (), script_line(), now), result)
        else:
            self.origins.note(result, (args, kwargs))

    def broke(self, module: nn.Module, error: BaseException) -> None:
        """The module that was entered raised."""
        if self._entered is not None:
            args, kwargs, now, state, location = self._entered
            self._entered = None
            self.failure = Call(module, args, kwargs, (), location, now, state, module.training), said_by(error)

    def failed(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException, now: Circumstances
    ) -> None:
        """A torch function raised; nothing is kept where it has nothing to do with the modules.

        Never raises: the script's own exception is on its way.
        """
        with suppress(Exception):
            if not any(map(self._depends, tensors_in((args, kwargs)))):
                return
            self.failure = Call(function, self.kept(args), self.kept(kwargs), (), script_line(), now), said_by(error)

    def end_at_failure(self, error: BaseException) -> int | None:
        """Put the call that raised this error at the end; the number of the value that it would have made, if there is one."""
        if self.failure is None or said_by(error) != self.failure[1]:
            return None
        call, _ = self.failure
        self.failure = None
        self.values.append(Value(made_by=len(self.calls)))
        call.outputs = (len(self.values) - 1,)
        self.calls.append(call)
        return call.outputs[0]

    def _depends(self, tensor: Tensor) -> bool:
        """Whether a tensor comes out of a module or went into one."""
        number = self.number_of(tensor)
        return number is not None and (self.values[number].made_by is not None or self.values[number].is_input)

    def _add(self, call: Call, result: Any) -> None:
        if len(self.calls) >= MOST_CALLS:
            return
        position = len(self.calls)
        call.outputs = tuple(self.made(tensor, position) for tensor in tensors_in(result))
        self.calls.append(call)

    def differentiated(self) -> set[int]:
        """Numbers of the values by which `autograd.grad` differentiates."""
        calls = [call for call in self.calls if call.function is torch.autograd.grad]
        given = (call.args[1] if len(call.args) > 1 else call.kwargs.get("inputs") for call in calls)
        return {slot.number for value in given for slot in slots_in(value)}

    # ---------------------------------------------------------------- slices

    def slice_to(self, loss: Tensor) -> list[int] | None:
        """Positions of the calls that a loss depends on, in order; None where the tape does not know how it was made."""
        number = self.number_of(loss)
        return None if number is None or self.values[number].made_by is None else self.slice_of(number)

    def slice_of(self, number: int) -> list[int]:
        """Positions of the calls that a value depends on, in order."""
        needed: set[int] = set()
        waiting = [number]
        while waiting:
            position = self.values[waiting.pop()].made_by
            if position is None or position in needed:
                continue
            needed.add(position)
            waiting += [slot.number for slot in slots_in((self.calls[position].args, self.calls[position].kwargs))]
        return sorted(needed)


def said_by(error: BaseException) -> str:
    """What tells an exception from another; the exception itself would keep its frames alive."""
    return f"{type(error).__name__}: {text_of(error)}"


def _version(tensor: Tensor) -> int:
    return version(tensor) or 0


def slots_in(value: Any) -> list[Slot]:
    """Every slot inside nested arguments."""
    if isinstance(value, Slot):
        return [value]
    if isinstance(value, Mapping):
        return [slot for item in value.values() for slot in slots_in(item)]
    if isinstance(value, (tuple, list)):
        return [slot for item in value for slot in slots_in(item)]
    if isinstance(value, slice):
        return slots_in((value.start, value.stop, value.step))
    return []


class TapeMode(TorchFunctionMode):
    """Hands the script's own torch calls to the tape."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape
        self.paused = 0
        self.is_on = False

    def on(self) -> None:
        """Begin."""
        if not self.is_on:
            remove_function_mode(self)  # torch may have put it back since: see `off`
            insert_function_mode(self)
            self.is_on = True

    def off(self) -> None:
        """End; may be called again.

        While one of the script's calls of torch runs (a step in a hook of its backward), the mode is off the stack and torch puts it
        back when the call ends: it notes nothing any more, and the next `off` takes it away.
        """
        remove_function_mode(self)
        self.is_on = False

    def _listens(self) -> bool:
        return self.is_on and not (self.paused or torch.compiler.is_compiling() or is_capturing())

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the call; note it where the script itself made it."""
        kwargs = kwargs or {}
        if not self._listens() or getattr(func, "__name__", "") in _QUIET:
            return func(*args, **kwargs)
        now = Circumstances.now()
        try:
            result = func(*args, **kwargs)
        except Exception as error:
            with without_torch_function(), torch.no_grad():
                self.tape.failed(func, args, kwargs, error, now)
            raise
        if next(tensors_in(result), None) is not None:
            with without_torch_function(), torch.no_grad():
                self.tape.add(func, args, kwargs, result, now)
        return result


def _holds_loss(output: Any) -> bool:
    """Whether an output holds its loss where a setup looks for it."""
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    return isinstance(found, Tensor)
