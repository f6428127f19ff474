"""Summands of a loss that record no graph: a loss rebuilt from numbers, a value that was detached on the way."""

from __future__ import annotations

from collections.abc import Iterator

from nnlint.finding import Location
from nnlint.observation.tape import Call, Tape, slots_in
from nnlint.tensors import is_strided

#: Calls between a loss and a summand.
_MOST = 64
_SUMS = ("add", "sub", "iadd", "isub", "radd", "rsub", "sum", "mean", "stack", "cat", "concat", "hstack", "vstack")
_SCALINGS = (
    "mul", "rmul", "imul", "multiply", "div", "truediv", "itruediv", "divide", "neg", "squeeze", "view", "reshape",
)  # fmt: skip


def summands_without_graph(tape: Tape, loss: int) -> tuple[Location, ...]:
    """The script's lines that computed summands of a loss which record no graph; summands of 0 are left out."""
    found: dict[Location, None] = {}
    waiting, seen = [loss], {loss}
    while waiting and len(seen) <= _MOST:
        number = waiting.pop()
        position = tape.values[number].made_by
        if position is None:
            continue
        call = tape.calls[position]
        for other in _parts(call):
            line = _line_without_graph(tape, other, call)
            if line is not None:
                found[line] = None
            elif other not in seen:
                seen.add(other)
                waiting.append(other)
    return tuple(found)


def _parts(call: Call) -> Iterator[int]:
    """The values that a call adds up; the one value that it scales or reshapes."""
    if not call.is_module and (_name(call) in _SUMS or _is_scaling(call)):
        yield from (slot.number for slot in slots_in((call.args, call.kwargs)))


def _name(call: Call) -> str:
    return str(getattr(call.function, "__name__", "")).strip("_")


def _is_scaling(call: Call) -> bool:
    return not call.is_module and _name(call) in _SCALINGS and len(slots_in((call.args, call.kwargs))) == 1


def _line_without_graph(tape: Tape, number: int, adding: Call) -> Location | None:
    """Where a value without a graph was computed: its own call, what is known of a tensor from outside, else the call that adds it."""
    value = tape.values[number]
    if value.made_by is not None:
        if value.records:
            return None
        call = tape.calls[value.made_by]
        below = list(_parts(call)) if _is_scaling(call) else []
        return _line_without_graph(tape, below[0], call) if len(below) == 1 else call.location or adding.location
    given = value.given
    if given is None or given.requires_grad or given.numel() != 1 or not is_strided(given) or not bool(given):
        return None
    return value.origin or adding.location
