"""Generated batches for code_limits.py: sequences whose axis of time is known, and inputs that are noise or data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from nnlint.time_axis import told_time
from nnlint_rules.data._scales import is_normal_noise

#: Seeds of each kind.
DRAWS = 6

Program = tuple[str, bool, Callable[[], bool]]


# -------------------------------------------------------------------- the axis of time


def sequences() -> Iterator[Program]:
    """Batches (batch, time): faulty stands for those whose values tell the axis, healthy for those in which they tell a wrong one or none.

    Each program is asked whether time is told: a right answer counts as found, a wrong one is an accusation of its own program.
    """
    for seed in range(DRAWS):
        for name, make in {**_TOLD, **_UNTOLD}.items():
            torch.manual_seed(seed)
            samples, steps = 8 + 3 * seed, (12, 17, 24, 33, 48, 64)[seed]
            inputs, targets = make(samples, steps)
            for turned in (False, True):
                given = [[part.transpose(0, 1) if turned and part.dim() > 1 else part for part in group] for group in (inputs, targets)]
                right = (0 if turned else 1, samples)
                told = name in _TOLD
                yield f"{name} {seed}{' turned' if turned else ''}", told, _is_told(given, right, told=told)


def _is_told(given: list[list[Tensor]], right: tuple[int, int], *, told: bool) -> Callable[[], bool]:
    def found() -> bool:
        said = told_time(*given)
        return said == right if told else said is not None and said != right

    return found


def _ids(samples: int, steps: int, words: int = 200) -> Tensor:
    frequency = 1.0 / torch.arange(1, words + 1)
    return torch.multinomial(frequency, samples * steps, replacement=True).view(samples, steps) + 2


def _shifted(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    ids = _ids(samples, steps + 1)
    return [ids[:, :-1]], [ids[:, 1:]]


def _shifted_with_ignored(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    ids = _ids(samples, steps + 1)
    labels = torch.where(torch.rand(samples, steps) < 0.3, -100, ids[:, 1:])
    return [ids[:, :-1]], [labels]


def _shifted_with_noise(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    ids = _ids(samples, steps + 1)
    labels = torch.where(torch.rand(samples, steps) < 0.01, 1, ids[:, 1:])
    return [ids[:, :-1]], [labels]


def _start_token(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    ids = _ids(samples, steps)
    ids[:, 0] = 1
    return [ids], [torch.randint(0, 4, (samples, steps))]


def _padded(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    ids = _ids(samples, steps)
    lengths = torch.randint(steps // 2, steps + 1, (samples, 1))
    return [torch.where(torch.arange(steps) < lengths, ids, 0)], [torch.randint(0, 4, (samples,))]


def _walk(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    return [torch.randn(samples, steps, 4).cumsum(1)], [torch.randn(samples)]


def _waves(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    speed, phase = 0.1 + 0.4 * torch.rand(samples, 1, 3), 6.3 * torch.rand(samples, 1, 3)
    return [(speed * torch.arange(steps)[None, :, None] + phase).sin()], [torch.randn(samples)]


def _autoregressive(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    series = torch.zeros(samples, steps, 2)
    for step in range(1, steps):
        series[:, step] = 0.9 * series[:, step - 1] + torch.randn(samples, 2)
    return [series], [torch.randn(samples)]


def _random_ids(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    return [_ids(samples, steps)], [torch.randint(0, 4, (samples, steps))]


def _few_ids(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    return [torch.randint(0, 2, (samples, steps))], [torch.randint(0, 2, (samples, steps))]


def _white_noise(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    return [torch.randn(samples, steps, 4)], [torch.randn(samples, steps, 4)]


def _offsets(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    """Noise around a level of each sample."""
    return [0.8 * torch.randn(samples, steps, 3) + torch.randn(samples, 1, 3)], [torch.randn(samples)]


def _sorted_samples(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    """Noise around levels that rise from sample to sample: a batch that was not shuffled."""
    return [0.3 * torch.randn(samples, steps, 3) + torch.linspace(-1, 1, samples)[:, None, None]], [torch.randn(samples)]


def _tags(samples: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    """Targets that repeat the inputs of the same step."""
    ids = _ids(samples, steps)
    return [ids], [ids.clone()]


_Make = Callable[[int, int], tuple[list[Tensor], list[Tensor]]]
_TOLD: dict[str, _Make] = {
    "labels moved by one": _shifted,
    "labels moved by one, 30 % ignored": _shifted_with_ignored,
    "labels moved by one, 1 % replaced": _shifted_with_noise,
    "a start token": _start_token,
    "padding": _padded,
    "random walk": _walk,
    "waves": _waves,
    "autoregressive, 0.9": _autoregressive,
}
_UNTOLD: dict[str, _Make] = {
    "random ids": _random_ids,
    "bits": _few_ids,
    "white noise": _white_noise,
    "levels of samples": _offsets,
    "samples in order": _sorted_samples,
    "targets as inputs": _tags,
}


# -------------------------------------------------------------------- noise in place of data


def noise() -> Iterator[Program]:
    """Standard normal noise (the fault to be found), and inputs standardized by their own or by known statistics."""
    shapes = ((8, 3, 16, 16), (16, 20), (32, 64), (4, 3, 32, 32), (64, 10), (8, 50, 6))
    for seed in range(4 * DRAWS):
        torch.manual_seed(seed)
        shape = shapes[seed % len(shapes)]
        yield f"randn {shape} {seed}", True, _is_noise(torch.randn(shape))
    for seed in range(DRAWS):
        for name, make in _DATA.items():
            torch.manual_seed(seed)
            shape = shapes[seed]
            values = make(shape)
            yield f"{name} {shape} {seed}", False, _is_noise((values - values.mean()) / values.std())


def _is_noise(values: Tensor) -> Callable[[], bool]:
    tensor: Any = SimpleNamespace(values=values, mean=float(values.mean()), std=float(values.std()))
    return lambda: is_normal_noise(tensor)


def _picture(shape: tuple[int, ...]) -> Tensor:
    """Smooth fields, clipped as pictures are."""
    rough = torch.randn(math.prod(shape[:-1]), 4)
    smooth = torch.nn.functional.interpolate(rough[:, None], size=shape[-1], mode="linear")[:, 0]
    return (smooth * 0.4 + 0.5).clamp(0, 1).reshape(shape)


_DATA: dict[str, Callable[[tuple[int, ...]], Tensor]] = {
    "pictures": _picture,
    "uniform": torch.rand,
    "counts": lambda shape: torch.poisson(torch.full(shape, 2.0)),
    "heavy tails": lambda shape: torch.distributions.StudentT(4.0).sample(shape),
    "two groups": lambda shape: torch.randn(shape) + 3.0 * (torch.arange(shape[0]) % 2).view(-1, *(1 for _ in shape[1:])),
}
