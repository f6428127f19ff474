"""gradcheck, in float64, of every custom autograd.Function that the forward calls, on the very arguments it is called with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.gradcheck import GradcheckError

from nnlint.capture.torch_private import observed_functions
from nnlint.finding import Location, Skip
from nnlint.frames import call_lines
from nnlint.guard.scripted import is_scripted
from nnlint.probes.longer.effort import LongerProbe
from nnlint.seeding import seed_everything
from nnlint.tensors import tensors_in

if TYPE_CHECKING:
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

#: Entries of an argument whose derivatives are checked, and random projections of the outputs that they are taken of.
_ENTRIES = 48
_PROJECTIONS = 16
_EPSILON = 1e-6
#: Share of outputs that a tiny step leaves exactly as they were, from which on the forward is piecewise constant.
_STEADY = 0.99
_OF_TORCH = "torch."


@dataclass(frozen=True)
class CustomGradient:
    """gradcheck of one custom autograd.Function call, in float64.

    Attributes:
        passed: None where nothing was to be proven; `detail` says why.
        detail: what gradcheck said.
    """

    function: str
    module_path: str
    location: Location | None
    passed: bool | None
    detail: str


@dataclass(frozen=True)
class GradientCheck:
    """gradcheck of every custom autograd.Function that the forward called."""

    functions: tuple[CustomGradient, ...]


@dataclass
class _Call:
    function: Any
    args: tuple[Any, ...]
    location: Location | None
    module_path: str


def provide(session: Session) -> GradientCheck:
    """Run the probe.

    Raises:
        Skip: not asked for, or it cannot run.
    """
    probe = LongerProbe(session, "GradientCheck")
    found: GradientCheck = probe.run(lambda: run_gradcheck(session.setup, seed=session.plan.seed))
    return found


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
    running: list[str] = []
    names = {id(module): path for path, module in setup.model.named_modules()}

    def enter(module: torch.nn.Module, _: Any) -> None:
        running.append(names.get(id(module), ""))

    def leave(*_: Any) -> None:
        running.pop()

    def observe(cls: Any, bound: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not kwargs and not cls.__module__.startswith(_OF_TORCH) and cls.__qualname__ not in calls:
            kept = tuple(_kept(arg) if isinstance(arg, torch.Tensor) else arg for arg in args)
            place = running[-1] if running else ""
            calls[cls.__qualname__] = _Call(cls, kept, call_lines(stop).user, place)
        return bound(*args, **kwargs)

    watched = [module for module in setup.model.modules() if not is_scripted(module)]
    hooks = [module.register_forward_pre_hook(enter) for module in watched]
    hooks += [module.register_forward_hook(leave, always_call=True) for module in watched]
    try:
        with observed_functions(observe):
            yield
    finally:
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
    if not _wanted(args):
        return said("no argument to differentiate", passed=None)
    try:
        reason = _deliberate(call.function, args)
        if reason:
            return said(reason, passed=None)
        run, entries = _small_problem(call.function, args, generator)
        torch.autograd.gradcheck(run, entries, eps=_EPSILON, atol=1e-4, rtol=1e-3)
    except GradcheckError as error:
        what = str(error).partition(",\n")[0].partition("\n")[0].strip(" ,")
        return said(f"{what[:120]}; {_compared(run, entries)}", passed=False)
    except Exception as error:  # a function for one dtype or device alone: nothing is proven
        return said(f"could not be checked: {type(error).__name__}: {error}"[:300], passed=None)
    return said("", passed=True)


def _compared(run: Callable[..., tuple[torch.Tensor, ...]], entries: tuple[torch.Tensor, ...]) -> str:
    """How the derivatives differ, in one number: the median of backward over finite difference."""
    ratios = []
    for index, values in enumerate(entries):
        outputs = torch.cat(run(*entries))
        backward = [
            torch.autograd.grad(out, values, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
            for out in outputs
        ]
        for position in range(values.numel()):
            step = torch.zeros_like(values)
            step[position] = _EPSILON
            moved = [torch.cat(run(*entries[:index], values + sign * step, *entries[index + 1 :])) for sign in (1, -1)]
            numerical = (moved[0] - moved[1]).detach() / (2 * _EPSILON)
            given = torch.stack([row[position] for row in backward])
            ratios += (given / numerical)[numerical.abs() > 1e-6].tolist()
    if not ratios:
        return "finite differences are zero"
    return f"it is {sorted(ratios)[len(ratios) // 2]:.3g} times the finite difference (median of {len(ratios)} derivatives)"


def _wanted(args: tuple[Any, ...]) -> list[torch.Tensor]:
    return [arg for arg in args if isinstance(arg, torch.Tensor) and arg.requires_grad]


def _small_problem(
    function: Any, args: tuple[Any, ...], generator: torch.Generator
) -> tuple[Callable[..., tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]:
    """The function of a few entries of each argument, to random projections of each output: cheap to check in full."""
    wanted = _wanted(args)
    chosen = [_spread(arg.numel(), _ENTRIES).to(arg.device) for arg in wanted]
    entries = tuple(arg.detach().flatten()[where].requires_grad_() for arg, where in zip(wanted, chosen, strict=True))
    outputs = [out for out in tensors_in(function.apply(*args)) if out.is_floating_point()]
    shapes = [(min(out.numel(), _PROJECTIONS), out.numel()) for out in outputs]
    views = [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(out.device)
        for shape, out in zip(shapes, outputs, strict=True)
    ]

    def run(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        filled = (
            arg.detach().flatten().index_copy(0, where, value).view_as(arg)
            for arg, where, value in zip(wanted, chosen, values, strict=True)
        )
        given = [next(filled) if isinstance(arg, torch.Tensor) and arg.requires_grad else arg for arg in args]
        outputs = [out for out in tensors_in(function.apply(*given)) if out.is_floating_point()]
        return tuple(view @ out.flatten() for view, out in zip(views, outputs, strict=True))

    return run, entries


def _spread(size: int, most: int) -> torch.Tensor:
    """At most so many positions, evenly over a size."""
    return torch.arange(min(most, size)) * (size - 1) // max(1, min(most, size) - 1)


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
        outputs, again = (list(tensors_in(function.apply(*args))) for _ in range(2))
        if any(not torch.equal(one, other) for one, other in zip(outputs, again, strict=True)):
            return "the forward is random"
        inputs = _wanted(args)
        if all(any(out.shape == arg.shape and torch.equal(out, arg) for arg in inputs) for out in outputs):
            return "the forward is the identity: a gradient that is reversed, scaled or clipped on purpose"
        step = [arg + 1e-7 * arg.abs().mean() if any(arg is one for one in inputs) else arg for arg in args]
        moved = tensors_in(function.apply(*step))
    steady = sum(int((one == other).sum()) for one, other in zip(outputs, moved, strict=True))
    if steady > _STEADY * sum(out.numel() for out in outputs):
        return "the forward is piecewise constant: a straight-through estimate on purpose"
    return ""
