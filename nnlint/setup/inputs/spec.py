"""The grammar of `--input`: `[name=]DIMS[:TYPE]`, without the batch dimension.

`3x32x32` is a float image, `16:int<1000>` are 16 token ids below 1000, `mask=16:bool` goes to the argument `mask`,
`t=:int<1000>` is one number per sample.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nnlint.setup.errors import SetupError

_SPEC = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<dims>[^:=]*)(?::(?P<type>.*))?", re.DOTALL)
_TYPE = re.compile(r"(?P<dtype>[a-z]+\d*)(?:<(?P<high>\d+)>)?")
_DTYPES = {
    "float": torch.float32,
    "int": torch.int64,
    "bool": torch.bool,
    **{
        str(dtype).removeprefix("torch."): dtype
        for dtype in (
            torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
            torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8,
        )
    },
}  # fmt: skip
_EXAMPLES = "3x32x32, 16:int<1000> (token ids below 1000), mask=16:bool (keyword argument)"


@dataclass(frozen=True)
class InputSpec:
    """One example input.

    Attributes:
        shape: without the batch dimension.
        dtype: of the tensor.
        high: integers are drawn from 0 up to, not including, this.
        name: the keyword argument it is for; None for the next positional one.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    high: int | None = None
    name: str | None = None

    def make(self, samples: int, generator: torch.Generator) -> torch.Tensor:
        """A tensor of `samples` random examples: standard normal floats, uniform integers, fair booleans."""
        return make_tensor((samples, *self.shape), self.dtype, self.high, generator)


def make_tensor(
    shape: tuple[int, ...], dtype: torch.dtype, high: int | None, generator: torch.Generator
) -> torch.Tensor:
    """Random values of any dtype, drawn on the CPU from `generator` alone."""
    if dtype.is_floating_point or dtype.is_complex:
        base = torch.float32 if dtype.is_floating_point and dtype.itemsize < 4 else dtype
        return torch.randn(shape, generator=generator, dtype=base).to(dtype)
    bound = 2 if high is None else high
    return torch.randint(0, bound, shape, generator=generator).to(dtype)


def parse_input(text: str) -> InputSpec:
    """One `--input` specification.

    Raises:
        SetupError: RUN001, naming what in `text` is not understood.
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None or not (match["dims"] or match["type"]):
        raise _malformed(text, "expected [name=]DIMS[:TYPE]")
    shape = []
    for part in filter(None, match["dims"].split("x")) if match["dims"] else ():
        if not part.strip().isdigit() or int(part) == 0:
            raise _malformed(text, f"{part!r} is not a dimension (a whole number above zero)")
        shape.append(int(part))
    if match["dims"] and len(shape) != match["dims"].count("x") + 1:
        raise _malformed(text, "a dimension is missing beside an 'x'")
    dtype, high = _parse_type(text, match["type"])
    return InputSpec(tuple(shape), dtype, high, match["name"])


def _parse_type(text: str, given: str | None) -> tuple[torch.dtype, int | None]:
    if given is None:
        return torch.float32, None
    match = _TYPE.fullmatch(given.strip())
    if match is None or match["dtype"] not in _DTYPES:
        raise _malformed(text, f"unknown type {given!r}; known: {', '.join(_DTYPES)}, and int<N> for integers below N")
    dtype = _DTYPES[match["dtype"]]
    if match["high"] is None:
        return dtype, None
    if dtype.is_floating_point or dtype.is_complex or dtype is torch.bool:
        raise _malformed(text, f"a bound such as <{match['high']}> goes with integer types only")
    high = int(match["high"])
    if not 0 < high <= torch.iinfo(dtype).max + 1:
        raise _malformed(text, f"<{high}> is outside the range of {match['dtype']}")
    return dtype, high


def _malformed(text: str, reason: str) -> SetupError:
    return SetupError("RUN001", f"input specification {text!r}: {reason}", fix=f"write it like {_EXAMPLES}")


def make_inputs(specs: Sequence[str], parameters: Sequence[str], samples: int, generator: torch.Generator) -> Any:
    """The batch that `specs` describe: one tensor, a tuple, or a dict as soon as one is named.

    Args:
        specs: the specifications, in the order given.
        parameters: names of the arguments of `forward`, which unnamed specifications fill in order.
        samples: size of the batch dimension.
        generator: source of the values.
    """
    parsed = [parse_input(text) for text in specs]
    values = [spec.make(samples, generator) for spec in parsed]
    if all(spec.name is None for spec in parsed):
        return values[0] if len(values) == 1 else tuple(values)
    taken = {spec.name for spec in parsed}
    free = iter([name for name in parameters if name not in taken])
    batch: dict[str, torch.Tensor] = {}
    for spec, value, text in zip(parsed, values, specs, strict=True):
        name = spec.name or next(free, None)
        if name is None:
            message = f"input specification {text!r} has no name, and forward() has no argument left"
            raise SetupError("RUN001", message, fix="give one specification for each argument of forward()")
        if name in batch:
            message = f"input specification {text!r}: the argument {name!r} was given twice"
            raise SetupError("RUN001", message, fix="give one specification for each argument of forward()")
        batch[name] = value
    return batch
