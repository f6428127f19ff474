"""Calls the loss of a setup on substituted outputs without running the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnlint.finding import Skip
from nnlint.frames import is_fatal
from nnlint.guard.scripted import is_scripted
from nnlint.probes.torch_errors import one_line
from nnlint.seeding import seed_everything
from nnlint.setup.inputs.names import named_inputs
from nnlint.tensors import map_tensors, tensors_in

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup


_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Refused(Exception):
    """The loss does not take such an output, or gives no finite number for it."""


class Unread(Refused):
    """The loss gives this output no gradient: it is no prediction, or is detached first."""


@dataclass(frozen=True, eq=False)
class LossCaller:
    """The loss as a function of the output's tensors.

    Attributes:
        leaves: the tensors of the output (or of the outputs of the modules that the loss follows), cut from the graph; those
            that training can change require grad.
        targets: the tensors that may hold the targets.
        compute: `compute(leaves, targets)` gives the loss, a tensor of any shape.
        seed: set before every call.
        free: which of the leaves a linear map makes, so that training can make them as large as it likes.
    """

    leaves: tuple[torch.Tensor, ...]
    targets: tuple[torch.Tensor, ...]
    compute: Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor]], Any]
    seed: int
    free: frozenset[int] = frozenset()

    def tensor(self, leaves: Sequence[torch.Tensor], targets: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """The loss as the setup gives it.

        Raises:
            Refused: it raises, or is no tensor of real numbers.
        """
        seed_everything(self.seed)
        try:
            made = self.compute(leaves, self.targets if targets is None else targets)
        except BaseException as error:
            if is_fatal(error):
                raise
            raise Refused(one_line(error)) from error
        if not isinstance(made, torch.Tensor) or not made.is_floating_point() or not made.numel():
            raise Refused("the loss is not a tensor of real numbers")
        return made

    def value(self, leaves: Sequence[torch.Tensor], targets: Sequence[torch.Tensor] | None = None) -> float:
        """The loss as one number (the mean where it is one for each sample).

        Raises:
            Refused: as `tensor`, or the loss is not finite.
        """
        with torch.no_grad():
            made = float(self.tensor(leaves, targets).double().mean())
        if not math.isfinite(made):
            raise Refused("the loss is not finite")
        return made

    def with_leaf(self, index: int, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The output's tensors with one of them replaced."""
        like = self.leaves[index]
        fitted = values.reshape(like.shape).to(like.device, like.dtype)
        return (*self.leaves[:index], fitted, *self.leaves[index + 1 :])

    def gradient(
        self, leaves: Sequence[torch.Tensor], index: int, targets: Sequence[torch.Tensor] | None = None
    ) -> torch.Tensor:
        """The gradient of the summed loss with respect to one of the output's tensors.

        Raises:
            Refused: there is none.
        """
        with torch.enable_grad():
            variable = leaves[index].detach().clone().requires_grad_()
            made = self.tensor((*leaves[:index], variable, *leaves[index + 1 :]), targets)
            if not made.requires_grad:
                raise Unread("the loss does not depend on this output")
            (found,) = torch.autograd.grad(made.sum(), variable, allow_unused=True)
        if found is None:
            raise Unread("the loss does not depend on this output")
        return found


def loss_caller(
    setup: TrainingSetup, output: Any, *, seed: int, labels: frozenset[str] = frozenset(), inside: bool = False
) -> LossCaller:
    """The caller of a setup's loss; the caller of this function holds the state guard.

    Args:
        setup: with its loss, `own_loss`, or a model that computes its loss itself.
        output: what the model returned in the training pass, cut from the graph; None where `own_loss` ran the model.
        seed: of every call.
        labels: names of the inputs that a loss in the model's own code compares predictions with.
        inside: the model's own code makes the loss, and `setup.loss` only hands it on.

    Raises:
        Skip: no such function can be made.
    """
    computed = (inside or all(leaf.numel() == 1 for leaf in tensors_in(output))) and setup.targets is None
    if setup.own_loss is None and setup.loss is not None and not computed:
        return _of_output(setup, output, seed)
    return _of_modules(setup, seed, labels)


def _of_output(setup: TrainingSetup, output: Any, seed: int) -> LossCaller:
    leaves, own_targets = _places(output), _places(setup.targets)
    if not leaves:
        raise Skip("the output holds no tensor")

    def compute(leaves: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> Any:
        made = _filled(output, leaves)
        if setup.targets is None:
            return setup.compute_loss(made)
        same = all(one is other for one, other in zip(targets, own_targets, strict=True))
        given = setup.targets if same else _filled(setup.targets, targets)
        return setup.with_inputs(setup.inputs, given).compute_loss(made)

    return LossCaller(leaves, own_targets, compute, seed)


def _places(value: Any) -> tuple[torch.Tensor, ...]:
    """The tensors of a nested value that `_filled` replaces, in its order."""
    found: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        found.append(tensor)
        return tensor

    map_tensors(keep, value)
    return tuple(found)


def _filled(value: Any, tensors: Sequence[torch.Tensor]) -> Any:
    """`value` with these tensors in the places of its own."""
    waiting = iter(tensors)
    return map_tensors(lambda _: next(waiting), value)


# -------------------------------------------------------------------- a loss inside the model's own code


def _of_modules(setup: TrainingSetup, seed: int, labels: frozenset[str]) -> LossCaller:
    """The loss that `training_step` or the model's forward computes from the outputs of modules with weights.

    These modules are run once; from then on each gives back what it gave, or what is put in its place.
    """
    inside = setup.own_loss is None
    with _first_calls(setup.model, inside=inside) as calls, torch.enable_grad():
        seed_everything(seed)
        try:
            _run(setup)
        except BaseException as error:
            if is_fatal(error):
                raise
            raise Skip(f"the loss cannot be called again: {one_line(error)}") from error
    if not calls:
        raise Skip("no module computes what the loss gets")
    answers = map_tensors(_cut, [made for _, made in calls])
    own_targets = tuple(_own_targets(setup, labels))
    modules = [module for module, _ in calls]

    def compute(leaves: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> Any:
        if any(one is not other for one, other in zip(targets, own_targets, strict=True)):
            raise Refused("the targets are inside the model's batch")
        with _answering(modules, _filled(answers, leaves)):
            return _run(setup)

    linear = [isinstance(module, _LINEAR) for module, answer in zip(modules, answers, strict=True) for _ in _places(answer)]
    free = frozenset(place for place, is_linear in enumerate(linear) if is_linear)
    return LossCaller(_places(answers), own_targets, compute, seed, free)


def _cut(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)


def _run(setup: TrainingSetup) -> Any:
    output, loss = setup.run()
    if loss is None:
        raise Skip("no loss given")
    del output
    return loss


def _own_targets(setup: TrainingSetup, labels: frozenset[str]) -> Iterator[torch.Tensor]:
    """The targets, and the inputs that the loss compares predictions with; where none is known, all behind the first."""
    given = list(named_inputs(setup)) if setup.inputs is not None else []
    own = [tensor for name, tensor in given if name in labels] or [tensor for _, tensor in given[1:]]
    seen: set[int] = set()
    for tensor in tensors_in([setup.targets, own]):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield tensor


@contextmanager
def _first_calls(model: nn.Module, *, inside: bool) -> Iterator[list[tuple[nn.Module, Any]]]:
    """Collects the outermost calls of modules with parameters; `inside` the model's own call, or outside of it."""
    calls: list[tuple[nn.Module, Any]] = []
    depth = [0]

    def before(*_: Any) -> None:
        depth[0] += 1

    def after(module: nn.Module, _: Any, output: Any) -> None:
        depth[0] -= 1
        if depth[0] == 0:
            calls.append((module, output))

    modules = (module for module in model.modules() if not is_scripted(module))
    watched = [module for module in modules if _has_weights(module) and not (inside and module is model)]
    handles = [module.register_forward_pre_hook(before) for module in watched]
    handles += [module.register_forward_hook(after) for module in watched]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


@contextmanager
def _answering(modules: Sequence[nn.Module], answers: Sequence[Any]) -> Iterator[None]:
    """Make each module give the answers meant for it, in the order of the calls, without running."""
    queues: dict[int, list[Any]] = {}
    for module, answer in zip(modules, answers, strict=True):
        queues.setdefault(id(module), []).append(answer)
    changed = list({id(module): module for module in modules}.values())
    before = [vars(module).get("forward") for module in changed]
    for module in changed:
        waiting = iter(queues[id(module)])
        vars(module)["forward"] = lambda *args, _waiting=waiting, **kwargs: next(_waiting)
    try:
        yield
    finally:
        for module, own in zip(changed, before, strict=True):
            if own is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = own
