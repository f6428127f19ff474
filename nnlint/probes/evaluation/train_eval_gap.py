"""Training mode against evaluation mode, with dropout off and batch statistics fixed in both: what is left of the gap.

What then still differs is the model's own doing: noise of its own, a branch on `self.training`, a forgotten rescaling. Noise
is averaged out; an evaluation-only squashing of the outputs (softmax of the logits) keeps their order and is none of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnlint import kinds
from nnlint.capture.op import Op
from nnlint.finding import Skip
from nnlint.probes.dependence.outputs import forward, relative_difference, zeroed
from nnlint.probes.evaluation.noise import is_added, meets
from nnlint.probes.longer.loop import NoDropout

if TYPE_CHECKING:
    from nnlint.probes.evaluation.first_difference import Difference
    from nnlint.probes.session import Session

#: Training passes whose mean stands for the expected output where training is random.
_DRAWS = 8
#: Position of `training` among the arguments of `F.batch_norm`.
_TRAINING = 5


@dataclass(frozen=True)
class TrainEvalGap:
    """Training mode without dropout and with fixed statistics, against evaluation mode.

    Attributes:
        size: root mean square of the difference, relative to the standard deviation of the evaluation outputs.
        noise: the same of the difference between single training passes and their mean; 0 where training is not random.
        squashed: whether evaluation only squashes what training returns: the same order, or values brought into [0, 1].
        op: the first op that differs between the modes or, where training is random, between two training passes; None
            where it could not be found.
        deliberate: other operations are made in one of the modes, or noise replaces values (masked training) or
            is added to them (a sampled latent) instead of scaling them: somebody wrote that on purpose.
    """

    size: float
    noise: float
    squashed: bool
    op: Op | None
    deliberate: bool


def measure_gap(session: Session, evaluated: list[torch.Tensor]) -> TrainEvalGap | None:
    """The gap; None where both modes agree but for rounding, or return values of other shapes."""
    first = _draw(session, 0)
    if not _comparable(first, evaluated) or relative_difference(first, evaluated) <= 1e-4:
        return None
    again = _draw(session, 1)
    draws = [first]
    if relative_difference(first, again) > 1e-4:
        draws += [again, *(_draw(session, number) for number in range(2, _DRAWS))]
    scale = _deviation(evaluated)
    if not scale or any(not _comparable(draw, evaluated) for draw in draws):
        return None
    means = [torch.stack(parts).mean(dim=0) for parts in zip(*draws, strict=True)]
    noise = _rms([_less(draw, means) for draw in draws]) * math.sqrt(len(draws) / max(len(draws) - 1, 1))
    is_random = len(draws) > 1
    where = _where(session, is_random=is_random)
    return TrainEvalGap(
        size=_rms([_less(means, evaluated)]) / scale,
        noise=noise / scale,
        squashed=all(_squashed(a, zeroed(b), is_random=is_random) for a, b in zip(means, evaluated, strict=True)),
        op=where.op if where is not None else None,
        deliberate=where is not None and (not _scales(where.op) if is_random else where.parted),
    )


def _scales(noise: Op) -> bool:
    """Whether the noise multiplies a signal, as dropout written by hand does."""
    return meets(noise).is_kind("mul", "div") and not is_added(noise)


def training_without_noise(model: nn.Module) -> None:
    """Training mode, except for modules that keep running statistics."""
    model.train()
    for module in model.modules():
        if any("running" in name or "moving" in name for name, _ in module.named_buffers(recurse=False)):
            module.training = False


class _FixedStatistics(NoDropout):
    """Without dropout, and with the running statistics where a batch norm is called as a function: the flag is the caller's."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the call, dropout and statistics of the batch replaced."""
        if kinds.canonical(getattr(func, "__name__", "")) == "batch_norm":
            return _with_running_statistics(func)(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


def _with_running_statistics(func: Callable[..., Any]) -> Callable[..., Any]:
    """`F.batch_norm` with training=False wherever it is given running statistics."""

    def call(*args: Any, **kwargs: Any) -> Any:
        mean = args[1] if len(args) > 1 else kwargs.get("running_mean")
        if func is not nn.functional.batch_norm or mean is None:
            return func(*args, **kwargs)
        given = list(args)
        if len(given) > _TRAINING:
            given[_TRAINING] = False
        else:
            kwargs["training"] = False
        return func(*given, **kwargs)

    return call


def _draw(session: Session, number: int) -> list[torch.Tensor]:
    def run() -> list[torch.Tensor]:
        training_without_noise(session.setup.model)
        with torch.no_grad(), _FixedStatistics():
            found = forward(session.setup, session.batch_inputs, seed=session.plan.seed + number)
        return [zeroed(tensor.detach()) for tensor in found]

    outputs: list[torch.Tensor] = session.measure(
        "training pass with fixed statistics",
        run,
        reads_only=True,
        attempt="the forward cannot be run in training mode with its dropout left out and its statistics fixed",
    )
    return outputs


def _where(session: Session, *, is_random: bool) -> Difference | None:
    """Where evaluation and training part, or two training passes with different seeds."""
    from nnlint.probes.evaluation.first_difference import Run, any_change, by_entries, first_difference

    def substitute(name: str) -> Callable[..., Any] | None:
        if name == "batch_norm":
            return _with_running_statistics(nn.functional.batch_norm)
        return (lambda value, *_, **__: value.clone()) if "dropout" in kinds.info(name).kinds else None

    def prepare() -> None:
        training_without_noise(model)

    model, inputs, seed = session.setup.model, session.batch_inputs, session.plan.seed
    one = Run(inputs, seed, prepare, substitute) if is_random else Run(inputs, seed, model.eval)
    other = Run(inputs, seed + 1, prepare, substitute)
    found: Difference | None = None
    with suppress(Skip):  # the gap is there, with its place or without; what raised is a failure of its own
        found = session.measure(
            "search for the gap", lambda: first_difference(session.setup, one, other, by_entries(any_change))
        )
    return found


def _comparable(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(a.shape == b.shape for a, b in zip(one, other, strict=True))


def _less(one: list[torch.Tensor], other: list[torch.Tensor]) -> list[torch.Tensor]:
    return [a - zeroed(b) for a, b in zip(one, other, strict=True)]


def _rms(differences: list[list[torch.Tensor]]) -> float:
    values = torch.cat([tensor.flatten().double() for tensors in differences for tensor in tensors])
    return float(values.square().mean().sqrt())


def _deviation(outputs: list[torch.Tensor]) -> float:
    return float(torch.cat([zeroed(tensor).flatten().double() for tensor in outputs]).std(unbiased=False))


def _squashed(training: torch.Tensor, evaluation: torch.Tensor, *, is_random: bool) -> bool:
    """Whether an output of evaluation is that of training squashed: as softmax or sigmoid of logits are."""
    if is_random:  # noise alone changes the order
        return _in_unit_interval(evaluation) and not _in_unit_interval(training)
    if evaluation.dim() and evaluation.shape[-1] > 1:
        return torch.equal(training.argmax(dim=-1), evaluation.argmax(dim=-1))
    return torch.equal(training.flatten().argsort(), evaluation.flatten().argsort())


def _in_unit_interval(tensor: torch.Tensor) -> bool:
    return bool((tensor >= 0).all() & (tensor <= 1).all())
