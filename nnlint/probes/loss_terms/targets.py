"""Finds the sides of a loss that are targets: numbers of the data mixed with what a network says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint.kinds import DISTANCE_LOSSES
from nnlint.probes.loss_terms.teachers import compared, teachers

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op

_LAYERS = ("linear-map", "recurrent", "attention", "embedding", "norm")
_BETWEEN = ("sub", "rsub", "div", "kl_div", *DISTANCE_LOSSES)
_LIKELIHOODS = ("log-softmax", "log_prob", "logsigmoid", "log")


@dataclass(frozen=True)
class Candidate:
    """A target that requires grad, and the op that takes it.

    Attributes:
        target: the op that makes it.
        loss: the op that takes it.
        taught: it is another network's answer.
        alone: that network reaches the loss by being such a target, and in no other way.
    """

    target: Op
    loss: Op
    taught: bool
    alone: bool = False


def candidates(graph: Graph) -> Iterator[Candidate]:
    """Targets of regressions (`reward + gamma * q(next)`), weights of likelihoods (`returns - value`), teachers, that require grad."""
    if graph.loss is None:
        return
    upstream = graph.ancestors(graph.loss) | {graph.loss}
    seen: set[Op] = set()
    for op in graph.ops:
        if op not in upstream or not op.requires_grad:
            continue
        pair, weighed = compared(op), _weighed(op)
        if pair is not None or weighed is not None:
            target = _target_of(*pair) if pair is not None else _weight_of(*weighed) if weighed is not None else None
            if target is not None and target not in seen:  # one target of two critics, one advantage in both terms of PPO
                seen.add(target)
                yield Candidate(target, op, taught=False)
        elif op.name == "kl_div" and len(op.activations) > 1 and op.activations[1].requires_grad:
            student, teacher = op.activations[:2]
            if set(layers_of(student)).isdisjoint(layers_of(teacher)):
                yield Candidate(teacher, op, taught=True)
    yield from (Candidate(found.teacher, found.op, taught=True, alone=True) for found in teachers(graph))


@dataclass(frozen=True)
class Reference:
    """A comparison of a network's answer with that of a reference that runs without gradient and has the same parameters."""

    op: Op
    answer: Op
    reference: Op


def references(graph: Graph) -> Iterator[Reference]:
    """Differences, quotients and losses between what a network says and what the same network says under no_grad."""
    if graph.loss is None:
        return
    for op in sorted(graph.ancestors(graph.loss) | {graph.loss}, key=lambda op: op.index):
        if op.name not in _BETWEEN or len(op.activations) != 2:
            continue
        for answer, reference in (op.activations, op.activations[::-1]):
            if not answer.requires_grad or reference.requires_grad:
                continue
            own, other = parameters_of(answer), parameters_of(reference)
            run_again = any(not head.grad_enabled and head.parameters for head in _heads(reference))
            if own and own == other and run_again:
                yield Reference(op, answer, reference)


def parameters_of(op: Op) -> frozenset[str]:
    """The parameters of the last layers before an op."""
    return frozenset(name for head in _heads(op) for name in head.parameters)


def _weighed(op: Op) -> tuple[Op, Op] | None:
    """A likelihood and the number that each sample's is multiplied with, the likelihood first."""
    if op.name != "mul" or len(op.activations) != 2:
        return None
    for one, other in (op.activations, op.activations[::-1]):
        if _is_likelihood(one) and not _is_likelihood(other):
            return one, other
    return None


def _is_likelihood(op: Op) -> bool:
    return any(part.is_kind(*_LIKELIHOODS) or part.name in _LIKELIHOODS for part in _tail(op))


def _weight_of(likelihood: Op, weight: Op) -> Op | None:
    """The weight, where it mixes data into what another network says than the likelihood (which holds the actions)."""
    if not (likelihood.requires_grad and weight.requires_grad and _mixes_data(weight)):
        return None
    return weight if _heads(weight).isdisjoint(_heads(likelihood)) else None


def _target_of(one: Op, other: Op) -> Op | None:
    """The side that mixes data into what a network says, where the other side is what a network says alone."""
    mixed = [_mixes_data(side) for side in (one, other)]
    if mixed[0] is mixed[1] or not (one.requires_grad and other.requires_grad):
        return None
    target, prediction = (one, other) if mixed[0] else (other, one)
    # A network's output compared with a function of itself (a focal weight) is no target.
    return target if _heads(target).isdisjoint(_heads(prediction)) else None


def _mixes_data(side: Op) -> bool:
    """Whether real numbers of the batch are added to the side after its layers."""
    sums = (op for op in _tail(side) if op.name in ("add", "sub", "rsub", "addcmul", "where"))
    return any(
        any(part.requires_grad for part in op.inputs)
        and any(not part.requires_grad and any(map(_is_data, _tail(part))) for part in op.inputs)
        for op in sums
    )


def _is_data(op: Op) -> bool:
    real = op.dtype.startswith(("float", "bfloat"))
    return op.is_kind("input", "unknown") and real and not op.requires_grad


def _tail(op: Op) -> frozenset[Op]:
    """`op` and what is before it up to the last layers."""
    found: set[Op] = set()
    waiting = [op]
    while waiting:
        current = waiting.pop()
        if current in found or current.is_kind(*_LAYERS):
            continue
        found.add(current)
        waiting.extend(current.inputs)
    return frozenset(found)


def _heads(op: Op) -> frozenset[Op]:
    """The last layers before an op, one call each."""
    tail = _tail(op)
    return frozenset(part for inner in (*tail, op) for part in (inner, *inner.inputs) if part.is_kind(*_LAYERS))


def layers_of(op: Op) -> tuple[str, ...]:
    """Paths of the modules of the last layers before an op."""
    return tuple(sorted({head.module_path for head in _heads(op) if head.module_path}))
