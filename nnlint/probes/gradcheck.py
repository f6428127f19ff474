"""gradcheck, in float64, of every custom autograd.Function that the forward calls, on the very arguments it is called with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnlint.capture.frames import user_location
from nnlint.finding import Location, Skip
from nnlint.probes.deep_stats import CustomGradient, GradientCheck
from nnlint.probes.guard_process import seed_everything

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

#: Entries of an argument that are checked; gradcheck costs two forwards for each.
_ENTRIES = 64
_OF_TORCH = "torch."


@dataclass
class _Call:
    function: Any
    args: tuple[Any, ...]
    location: Location | None


def run_gradcheck(setup: TrainingSetup, *, seed: int) -> GradientCheck:
    """Catch the first call of each custom function in a training-mode forward and check it; the caller holds the guard.

    Raises:
        Skip: the forward calls no custom autograd.Function.
    """
    setup.model.train()
    seed_everything(seed)
    calls: dict[str, _Call] = {}
    with _caught(calls, run_gradcheck.__code__):
        setup.run()
    if not calls:
        raise Skip("the forward calls no custom autograd.Function")
    return GradientCheck(tuple(_checked(call) for call in calls.values()))


@contextmanager
def _caught(calls: dict[str, _Call], stop: Any) -> Iterator[None]:
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if not cls.__module__.startswith(_OF_TORCH) and cls.__qualname__ not in calls:
            kept = tuple(arg.detach().clone() if isinstance(arg, torch.Tensor) else arg for arg in args)
            calls[cls.__qualname__] = _Call(cls, kept, user_location(stop, depth=1))
        return original.__get__(None, cls)(*args, **kwargs)

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.autograd.Function.apply = original  # type: ignore[method-assign]


def _checked(call: _Call) -> CustomGradient:
    name = call.function.__name__
    args = tuple(_prepared(arg) for arg in call.args)
    if not any(isinstance(arg, torch.Tensor) and arg.requires_grad for arg in args):
        return CustomGradient(name, "", call.location, passed=True, detail="no floating argument to differentiate")
    try:
        passed = torch.autograd.gradcheck(call.function.apply, args, eps=1e-6, atol=1e-4, rtol=1e-3, fast_mode=False)
    except Exception as error:
        return CustomGradient(name, "", call.location, passed=False, detail=" ".join(str(error).split())[:300])
    return CustomGradient(name, "", call.location, passed=bool(passed), detail="")


def _prepared(arg: Any) -> Any:
    """A float64 leaf of at most `_ENTRIES` entries: whole samples where they are small, else one."""
    if not isinstance(arg, torch.Tensor) or not arg.is_floating_point():
        return arg
    cut = arg
    while cut.numel() > _ENTRIES and cut.dim() and cut.shape[0] > 1:
        cut = cut[: max(cut.shape[0] // 2, 1)]
    return cut.double().clone().requires_grad_()
