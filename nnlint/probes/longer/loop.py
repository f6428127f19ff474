"""Short trainings on a fixed batch, inside the state guard: the common part of the longer probes."""

from __future__ import annotations

import inspect
import math
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nnlint import kinds
from nnlint.capture.torch_private import has_step_hooks
from nnlint.finding import Skip
from nnlint.probes.longer.forward_loss import forward_loss
from nnlint.probes.torch_errors import during
from nnlint.provenance import is_nnlint_file
from nnlint.samples import first_samples, sample_count
from nnlint.setup.joined import needs_closure
from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

#: Steps that an update in parts takes.
_PARTS = 4
#: How to see outside nnlint what a step raises.
_IN_TRAINING = "run a few training steps on this batch, one after the other: the same step raises there too"
#: Called after each step of a longer probe, for a progress bar and the time budget; may raise Skip.
OnStep = Callable[[], None]


class NoDropout(TorchFunctionMode):
    """While active every dropout is an identity, functional or module, and attention drops nothing."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the call, dropout replaced."""
        kwargs = dict(kwargs or {})
        name = kinds.canonical(getattr(func, "__name__", ""))
        if "dropout" in kinds.info(name).kinds and args and isinstance(args[0], torch.Tensor):
            return args[0].clone()
        if "dropout_p" in kwargs:
            kwargs["dropout_p"] = 0.0
        return func(*_without_dropout(name, args), **kwargs)


#: Where fused layers take their dropout among positional arguments; recurrent ones have it later for packed sequences.
_POSITIONS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"multi_head_attention_forward": (10,), "scaled_dot_product_attention": (4,)}
)
_RECURRENT_POSITIONS = (5, 6)


def _without_dropout(name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    positions = _RECURRENT_POSITIONS if "recurrent" in kinds.info(name).kinds else _POSITIONS.get(name, ())
    for position in positions:
        if len(args) > position and isinstance(args[position], float):
            return (*args[:position], 0.0, *args[position + 1 :])
    return args


@contextmanager
def stepping(setup: TrainingSetup) -> Iterator[None]:
    """Around a forward, loss or backward after the first: says so of an exception, and what was kept from the step before."""
    try:
        with during("a training step after the first", _IN_TRAINING):
            yield
    except RuntimeError as error:
        if "backward through the graph a second time" in str(error):
            vars(error)["nnlint_kept"] = _kept_graphs(setup.model)
        raise


@contextmanager
def diverging(losses: list[float], *, is_beyond: bool) -> Iterator[None]:
    """Around a step: where the user's code raises at a rate that its training does not use, that is divergence, and no failure.

    The cross-entropy of a NaN, an assertion on a range, a solver without a solution: training does not make that step.

    Args:
        losses: gets an infinite one then.
        is_beyond: whether updates of a higher rate than the configured one lie behind.
    """
    try:
        yield
    except (Skip, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if not is_beyond or _is_own_fault(error):
            raise
        losses.append(math.inf)


def _is_own_fault(error: Exception) -> bool:
    """Whether a line of nnlint's own raised."""
    return [is_nnlint_file(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)][-1]


def _kept_graphs(model: nn.Module) -> tuple[tuple[str, str], ...]:
    """(module path, attribute) of every tensor with a graph that a module keeps beside its parameters."""
    return tuple(
        (path, name)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if not name.startswith("_") and any(tensor.grad_fn is not None for _, tensor in tensor_leaves(value))
    ) + tuple(
        (path, name)
        for path, module in model.named_modules()
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.grad_fn is not None
    )


def small_batch(setup: TrainingSetup, samples: int) -> TrainingSetup:
    """The setup on the first few samples of its batch."""
    count = sample_count(setup)
    inputs = first_samples(setup.inputs, count, samples)
    if inputs is setup.inputs:
        return setup
    return setup.with_inputs(inputs, first_samples(setup.targets, count, samples))


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """Parameters that require grad.

    Raises:
        Skip: there are none.
    """
    found = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not found:
        raise Skip("no trainable parameter to step")
    return found


def moment(model: nn.Module) -> float:
    """The clock in seconds, once the model's device has done what it was given."""
    device = next((parameter.device for parameter in model.parameters()), None)
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _takes_closure(optimizer: torch.optim.Optimizer) -> bool:
    return "closure" in inspect.signature(optimizer.step).parameters


def update(optimizer: torch.optim.Optimizer, setup: TrainingSetup, *, surrogate_seed: int | None = None) -> None:
    """One update from the gradients that are there; an optimizer that cannot do without a closure computes its own."""

    def closure() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = forward_loss(setup, surrogate_seed=surrogate_seed)
            loss.backward()
        clip(setup)
        return loss

    _prepare(optimizer, setup)
    step: Callable[..., Any] = optimizer.step
    with during("the optimizer's step", _IN_TRAINING):
        if needs_closure(optimizer):
            step(closure)
            return
        try:
            step()
        except Exception:
            if not _takes_closure(optimizer):
                raise
            step(closure)  # it needs one, and says so only when it is called (sharpness-aware minimization)


def _prepare(optimizer: torch.optim.Optimizer, setup: TrainingSetup) -> None:
    """Make the gradients what the step takes: dense ones for an optimizer that a probe made, clipped as in training."""
    if optimizer is not setup.optimizer:  # nobody chose it for sparse gradients, which Adam refuses
        dense_gradients(setup.model.parameters())
    clip(setup)


def dense_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Fill up sparse gradients with zeros; a parameter that is sparse itself can have no other and stands still."""
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.layout is not torch.strided:
            parameter.grad = parameter.grad.to_dense() if parameter.layout is torch.strided else None


def clip(setup: TrainingSetup) -> None:
    """Clip the gradient as the setup says that its training does."""
    if setup.grad_clip is not None:
        held = [parameter for parameter in setup.model.parameters() if parameter.grad is not None]
        nn.utils.clip_grad_norm_(held, setup.grad_clip)


def update_in_parts(
    optimizer: torch.optim.Optimizer, setup: TrainingSetup, *, surrogate_seed: int | None = None
) -> None:
    """One update, after which no parameter has a gradient.

    An optimizer of torch treats every parameter by itself. So it gets a part of the gradients at a time, and what it keeps of them
    (momentum) takes the place of those it has seen.
    """
    if _treats_each_alone(optimizer):
        _prepare(optimizer, setup)
        _step_in_parts(optimizer)
    else:
        update(optimizer, setup, surrogate_seed=surrogate_seed)
    for parameter in setup.model.parameters():
        parameter.grad = None


def _step_in_parts(optimizer: torch.optim.Optimizer) -> None:
    held = [(p, p.grad) for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    share = sum(parameter.numel() for parameter, _ in held) / _PARTS
    for parameter, _ in held:
        parameter.grad = None
    while held:
        part: list[torch.Tensor] = []
        values = 0
        while held and (not part or values < share):
            parameter, parameter.grad = held.pop()
            part.append(parameter)
            values += parameter.numel()
        with during("the optimizer's step", _IN_TRAINING):
            optimizer.step()
        for parameter in part:
            parameter.grad = None


def _treats_each_alone(optimizer: torch.optim.Optimizer) -> bool:
    """Whether steps on a part of the parameters each come to the step on all: nobody else listens in or takes part."""
    return (
        type(optimizer).__module__.startswith("torch.optim.")
        and not needs_closure(optimizer)
        and "step" not in vars(optimizer)  # a scheduler counts, a scaler wraps
        and not has_step_hooks(optimizer)
    )


def _acts_in_training_alone(module: nn.Module) -> bool:
    """Whether a module holds nothing to learn or to remember: what its training flag switches is dropout, noise, a dropped path."""
    return not [*module.children(), *module.parameters(recurse=False), *module.buffers(recurse=False)]


@contextmanager
def regularization_off(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Dropout and stochastic depth an identity, weight decay zero; the state guard puts everything back."""
    for group in optimizer.param_groups:
        if "weight_decay" in group:
            group["weight_decay"] = 0.0
    for module in model.modules():
        if _acts_in_training_alone(module):
            module.training = False
        elif isinstance(module, (nn.RNNBase, nn.MultiheadAttention)):
            module.dropout = 0.0  # applied inside one call of torch, where no mode looks
    with NoDropout():
        yield


def train(
    setup: TrainingSetup,
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    stop: Callable[[list[float]], bool] | None = None,
    on_step: OnStep | None = None,
    is_beyond: bool = False,
) -> list[float]:
    """Train on the setup's batch.

    Args:
        setup: model, batch and loss.
        optimizer: makes the updates; its state is the caller's to restore.
        steps: updates at most.
        stop: asked after each loss; True ends the run.
        on_step: called after each update; may raise Skip.
        is_beyond: whether the optimizer's rate is higher than the training's: see `diverging`.

    Returns:
        The loss before each update and, after a complete run, after the last one. Ends at the first non-finite loss.
    """
    losses: list[float] = []
    for number in range(steps + 1):
        optimizer.zero_grad(set_to_none=True)
        with diverging(losses, is_beyond=is_beyond and number > 0):
            with stepping(setup):
                loss = forward_loss(setup)
                losses.append(float(loss.detach()))
                if number == steps or not math.isfinite(losses[-1]) or (stop is not None and stop(losses)):
                    return losses
                loss.backward()
            update(optimizer, setup)
        if not math.isfinite(losses[-1]):
            return losses
        if on_step is not None:
            on_step()
    return losses
