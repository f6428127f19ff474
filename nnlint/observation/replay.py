"""Computing again what is on a tape, with other inputs, targets or outputs: the model and the loss of a reconstructed setup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from nnlint.capture.recorder import Recorder
from nnlint.finding import Location
from nnlint.observation.tape import Call, Slot, Tape, slots_in
from nnlint.observation.torch_private import function_modes, share_parts
from nnlint.tensors import tensor_leaves, tensors_in


class ReplayError(RuntimeError):
    """A replay got other values than the tape was made with, and cannot go on."""


def _call(function: Any, args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs)


@cache
def _caller(location: Location) -> FunctionType:
    """`_call` with its one line at a line of the script: whoever looks at the frames finds the script's line."""
    name = (location.function or "<module>").rpartition(".")[2]
    changes = {"co_filename": location.file, "co_firstlineno": location.line - 1, "co_name": name}
    if hasattr(_call.__code__, "co_qualname"):  # from Python 3.11 on
        changes["co_qualname"] = location.function or "<module>"
    replace: Any = _call.__code__.replace
    return FunctionType(replace(**changes), {})


class Player:
    """Runs calls of a tape on an environment of values.

    Args:
        tape: where the calls are.
        restores_randomness: set the generators before each module as they were, to get the script's own values.
    """

    def __init__(self, tape: Tape, *, restores_randomness: bool = False) -> None:
        self._tape = tape
        self._restores = restores_randomness

    def run(self, positions: Iterable[int], values: dict[int, Tensor]) -> dict[int, Tensor]:
        """Run these calls in order; `values` has what is known and gets what is computed."""
        for position in positions:
            call = self._tape.calls[position]
            result = self._call(call, values)
            made = list(tensors_in(result))
            if len(made) != len(call.outputs):
                raise ReplayError(f"a call returned {len(made)} tensors where the script's had {len(call.outputs)}")
            values.update(zip(call.outputs, made, strict=True))
        return values

    def _call(self, call: Call, values: dict[int, Tensor]) -> Any:
        if call.is_module:
            for number in input_numbers([call]):
                if number in values:
                    values[number] = _like_given(self._tape, number, values[number])
        args, kwargs = self._filled(call.args, values), self._filled(dict(call.kwargs), values)
        with ExitStack() as stack:
            for device, dtype in call.circumstances.autocast:
                stack.enter_context(torch.autocast(device, dtype=dtype))
            if not call.circumstances.records:
                stack.enter_context(torch.no_grad())
            if call.random_state is not None and self._restores:
                call.random_state.restore()
            caller = _caller(call.location) if call.location is not None else _call
            return caller(call.function, args, kwargs)

    def _filled(self, value: Any, values: dict[int, Tensor]) -> Any:
        """Arguments with the values in the place of slots."""
        if isinstance(value, Slot):
            return values[value.number] if value.number in values else self._given(value.number, values)
        if isinstance(value, Mapping):
            items = {key: self._filled(item, values) for key, item in value.items()}
            return items if type(value) is dict else _like(value, items)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self._filled(item, values) for item in value))
        if isinstance(value, (tuple, list)):
            return type(value)([self._filled(item, values) for item in value])
        if isinstance(value, slice):
            return slice(*(self._filled(part, values) for part in (value.start, value.stop, value.step)))
        return value

    def _given(self, number: int, values: dict[int, Tensor]) -> Tensor:
        given = self._tape.values[number].given
        if given is None:
            raise ReplayError("a value of the tape is used before it is computed")
        values[number] = given.clone().requires_grad_() if given.requires_grad else given
        return values[number]


def _like(value: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    import copy

    other: Any = copy.copy(value)
    for key, item in items.items():
        other[key] = item
    return other


class TapedLoss:
    """The loss of a script as a function of the model's output and the targets."""

    def __init__(
        self, tape: Tape, calls: list[int], *, outputs: list[int], targets: list[int], roots: list[int]
    ) -> None:
        self._tape = tape
        self._calls = calls
        self._outputs = outputs
        self._targets = targets
        self._roots = roots
        self.differentiates = differentiates(tape, calls)
        #: What the guard has to know: other players' modules, and tensors from outside.
        self.modules = [tape.calls[position].function for position in calls if tape.calls[position].is_module]
        self.given = [value.given for value in tape.values if value.given is not None]

    @property
    def __name__(self) -> str:
        """The loss function that the script called, or its last operation."""
        names = [getattr(self._tape.calls[position].function, "__name__", "") for position in self._calls]
        known = (name for name in names if "loss" in name or "entropy" in name)
        return next(known, names[-1] if names else "loss")

    def __call__(self, output: Any, targets: Any = None) -> Tensor:
        """The loss."""
        made = list(tensors_in(output))
        if len(made) != len(self._outputs):
            raise ReplayError(
                f"the model returned {len(made)} tensors; the script's loss was computed from {len(self._outputs)}"
            )
        return self.of(dict(zip(self._outputs, made, strict=True)), targets)

    def of(self, values: dict[int, Tensor], targets: Any) -> Tensor:
        """The loss of known values of the tape."""
        if targets is not None:
            values.update(zip(self._targets, tensors_in(targets), strict=False))
        values = Player(self._tape).run(self._calls, values)
        losses = [values[root] for root in self._roots]
        return losses[0] if len(losses) == 1 else torch.stack([loss.reshape(()) for loss in losses]).sum()


class TapedStep:
    """A loss that needs the inputs as well: it runs the model itself."""

    def __init__(self, loss: TapedLoss, inputs: list[int]) -> None:
        self.loss = loss
        self._inputs = inputs
        self._differentiates = loss.differentiates

    @property
    def __name__(self) -> str:
        """The loss function's name."""
        return self.loss.__name__

    def __call__(self, model: nn.Module, inputs: Any, targets: Any = None) -> Tensor:
        """The model's output on the inputs, and the loss of both."""
        from nnlint.setup.training_setup import call

        if isinstance(model, _TapedModel):
            known = model.prepared(tensor for _, tensor in tensor_leaves(inputs))
            inputs = tuple(known.values())
        else:
            known = dict(zip(self._inputs, (tensor for _, tensor in tensor_leaves(inputs)), strict=False))
        with torch.set_grad_enabled(self._differentiates or torch.is_grad_enabled()):
            output = call(model, inputs)
            with _as_loss():
                return self._loss_of(output, known, targets)

    def _loss_of(self, output: Any, values: dict[int, Tensor], targets: Any) -> Tensor:
        made = list(tensors_in(output))
        if len(made) != len(self.loss._outputs):
            raise ReplayError(f"the model returned {len(made)} tensors; the script's loss was computed from other ones")
        values.update(zip(self.loss._outputs, made, strict=True))
        return self.loss.of(values, targets)


@contextmanager
def _as_loss() -> Iterator[None]:
    """Let a recorder take what runs inside for the loss: the networks of other players are no part of the model."""
    recorders = [mode for mode in function_modes() if isinstance(mode, Recorder) and not mode.nodes.in_loss]
    for recorder in recorders:
        recorder.nodes.in_loss = True
    try:
        yield
    finally:
        for recorder in recorders:
            recorder.nodes.in_loss = False


def make_model(owner: nn.Module, tape: Tape, calls: list[int], *, inputs: list[int], outputs: list[int]) -> nn.Module:
    """A module with the parts of `owner` that calls them as the script did.

    Its submodules, parameters and buffers are those of `owner`, under the same paths.
    """
    kind = type(type(owner).__name__, (_TapedModel,), {"__module__": type(owner).__module__})
    made: nn.Module = kind(tape, calls, inputs, outputs)
    share_parts(made, owner)
    made.training = owner.training
    return made


class _TapedModel(nn.Module):
    """The calls that a script makes of a model's parts."""

    def __init__(self, tape: Tape, calls: list[int], inputs: list[int], outputs: list[int]) -> None:
        super().__init__()
        self._replayed = (tape, calls, inputs, outputs)

    def forward(self, *inputs: Tensor) -> Any:
        """The outputs that the loss is computed from: one tensor, or a tuple."""
        tape, calls, _numbers, outputs = self._replayed
        values = Player(tape).run(calls, self.prepared(inputs))
        made = tuple(values[number] for number in outputs)
        return made[0] if len(made) == 1 else made

    def prepared(self, inputs: Iterable[Tensor]) -> dict[int, Tensor]:
        """The inputs by number; those that the script differentiates by require a gradient, as there."""
        tape, _, numbers, _ = self._replayed
        pairs = zip(numbers, inputs, strict=False)
        return {number: _like_given(tape, number, tensor) for number, tensor in pairs}


def _like_given(tape: Tape, number: int, tensor: Tensor) -> Tensor:
    value = tape.values[number]
    given = value.given if value.given is not None else value.entered
    if given is None or not given.requires_grad or tensor.requires_grad or not tensor.is_floating_point():
        return tensor
    return tensor.detach().requires_grad_()


def differentiates(tape: Tape, calls: Iterable[int]) -> bool:
    """Whether `autograd.grad` is among the calls: a gradient penalty."""
    return any(tape.calls[position].function is torch.autograd.grad for position in calls)


def input_numbers(calls: Iterable[Call]) -> list[int]:
    """The numbers of all slots in the arguments of calls, each once, in order."""
    return list(dict.fromkeys(slot.number for call in calls for slot in slots_in((call.args, call.kwargs))))
