"""gradcheck, in float64, of every custom autograd.Function that the forward calls, on the very arguments it is called with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.gradcheck import GradcheckError

from nnlint.capture.frames import user_location
from nnlint.finding import Location, Skip
from nnlint.probes.deep_stats import CustomGradient, GradientCheck
from nnlint.probes.guard_process import seed_everything

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

#: Entries of all arguments together up to which every derivative is checked; above it a random projection of them.
_ENTRIES = 256
_EPSILON = 1e-6
_OF_TORCH = "torch."


@dataclass
class _Call:
    function: Any
    args: tuple[Any, ...]
    location: Location | None
    module_path: str


def run_gradcheck(setup: TrainingSetup, *, seed: int) -> GradientCheck:
    """Catch the first call of each custom function in a training-mode forward and check it; the caller holds the guard.

    Raises:
        Skip: the forward calls no custom autograd.Function.
    """
    setup.model.train()
    seed_everything(seed)
    calls: dict[str, _Call] = {}
    with _caught(calls, setup, run_gradcheck.__code__):
        setup.run()
    if not calls:
        raise Skip("the forward calls no custom autograd.Function")
    return GradientCheck(tuple(_checked(call, seed) for call in calls.values()))


@contextmanager
def _caught(calls: dict[str, _Call], setup: TrainingSetup, stop: Any) -> Iterator[None]:
    original = torch.autograd.Function.__dict__["apply"]
    running: list[str] = []
    names = {id(module): path for path, module in setup.model.named_modules()}

    def enter(module: torch.nn.Module, _: Any) -> None:
        running.append(names.get(id(module), ""))

    def leave(module: torch.nn.Module, _: Any, __: Any) -> None:
        running.pop()

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if not kwargs and not cls.__module__.startswith(_OF_TORCH) and cls.__qualname__ not in calls:
            kept = tuple(_kept(arg) if isinstance(arg, torch.Tensor) else arg for arg in args)
            place = running[-1] if running else ""
            calls[cls.__qualname__] = _Call(cls, kept, user_location(stop, depth=1), place)
        return original.__get__(None, cls)(*args, **kwargs)

    hooks = [module.register_forward_pre_hook(enter) for module in setup.model.modules()]
    hooks += [module.register_forward_hook(leave, always_call=True) for module in setup.model.modules()]
    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.autograd.Function.apply = original  # type: ignore[method-assign]
        for hook in hooks:
            hook.remove()


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def _checked(call: _Call, seed: int) -> CustomGradient:
    name = call.function.__name__

    def said(detail: str, *, passed: bool | None) -> CustomGradient:
        return CustomGradient(name, call.module_path, call.location, passed, detail)

    generator = torch.Generator().manual_seed(seed)
    args = tuple(_prepared(arg, generator) for arg in call.args)
    wanted = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.requires_grad]
    if not wanted:
        return said("no argument to differentiate", passed=None)
    try:
        reason = _deliberate(call.function, args)
        if reason:
            return said(reason, passed=None)
        torch.autograd.gradcheck(
            call.function.apply,
            args,
            eps=_EPSILON,
            atol=1e-4,
            rtol=1e-3,
            fast_mode=sum(arg.numel() for arg in wanted) > _ENTRIES,
        )
    except GradcheckError as error:
        return said(" ".join(str(error).split())[:300], passed=False)
    except Exception as error:  # a function for one dtype or device alone: nothing is proven
        return said(f"could not be checked: {type(error).__name__}: {error}"[:300], passed=None)
    return said("", passed=True)


def _prepared(arg: Any, generator: torch.Generator) -> Any:
    """A float64 leaf, moved off the kinks that exact zeros (of a ReLU before it) may lie on."""
    if not isinstance(arg, torch.Tensor) or not arg.is_floating_point():
        return arg
    exact = arg.detach().double()
    scale = exact.abs().mean().clamp_min(1e-3)
    noise = torch.rand(exact.shape, generator=generator, dtype=torch.float64).to(exact.device)
    moved = torch.where(exact == 0, 0.05 * scale * (0.5 + noise), exact)
    return moved.requires_grad_(arg.requires_grad)


def _deliberate(function: Any, args: tuple[Any, ...]) -> str:
    """Why a gradient may differ from the forward's derivative on purpose; empty where it should not."""
    with torch.no_grad():
        outputs = _tensors(function.apply(*args))
        inputs = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.requires_grad]
        if all(any(out.shape == arg.shape and torch.equal(out, arg) for arg in inputs) for out in outputs):
            return "the forward is the identity: a gradient that is reversed, scaled or clipped on purpose"
        step = [arg + 1e-7 * arg.abs().mean() if isinstance(arg, torch.Tensor) and arg.requires_grad else arg for arg in args]
        moved = _tensors(function.apply(*step))
    steady = sum(int((a == b).sum()) for a, b in zip(outputs, moved, strict=True))
    if steady > 0.99 * sum(out.numel() for out in outputs):
        return "the forward is piecewise constant: a straight-through estimate on purpose"
    return ""


def _tensors(value: Any) -> list[torch.Tensor]:
    return [tensor for tensor in (value if isinstance(value, tuple) else (value,)) if isinstance(tensor, torch.Tensor)]
