"""Evidence `LossTerms`: what each summand of the loss trains, and how hard it pulls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnlint.capture.loss_call import AtOp

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op


@dataclass(frozen=True)
class LossTerm(AtOp):
    """One summand of the loss.

    Attributes:
        op: makes its value, without the number that it is multiplied with.
        factor: that number, with the sign.
        value: the term as it goes into the loss, factor included; NaN where it is not one number.
        norms: gradient norm on each trained parameter that the term reaches, by name, factor included.
    """

    op: Op
    factor: float
    value: float
    norms: Mapping[str, float] = field(repr=False)

    @property
    def trains(self) -> bool:
        """Whether it changes any parameter."""
        return any(norm > 0.0 for norm in self.norms.values())

    def pull(self, parameters: frozenset[str]) -> float:
        """Gradient norm over these parameters."""
        return math.sqrt(sum(norm * norm for name, norm in self.norms.items() if name in parameters))


@dataclass(frozen=True)
class TargetPath(AtOp):
    """A side of the loss that is a target and is trained all the same.

    Attributes:
        op: makes the target.
        loss: the op that compares it with a prediction.
        norm: gradient norm of the trained parameters through the target alone.
        whole: the same of the whole loss.
        layers: paths of the modules with weights that the target comes from.
        taught: the target is another network's answer (a teacher's), which nothing else trains.
    """

    op: Op
    loss: Op
    norm: float
    whole: float
    layers: tuple[str, ...]
    taught: bool = False


@dataclass(frozen=True)
class SelfComparison(AtOp):
    """A network compared with itself: the reference has its parameters, and gives exactly its answers or has a name of its own.

    Attributes:
        op: takes both.
        layers: paths of the modules that give the reference's answers.
        names: what the network and its reference are called, where one object has both names; else empty.
    """

    op: Op
    layers: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class LossTerms:
    """The loss taken apart.

    Attributes:
        terms: its summands; a single one where it is no sum.
        targets: targets that carry a gradient.
        with_itself: comparisons of a network with a reference that is the same network.
        graph: the recorded graph.
        samples: how many samples the batch has.
    """

    terms: tuple[LossTerm, ...]
    targets: tuple[TargetPath, ...]
    graph: Graph
    samples: int
    with_itself: tuple[SelfComparison, ...] = ()

    def shared(self, one: LossTerm, other: LossTerm) -> frozenset[str]:
        """Names of the parameters that both terms reach."""
        return frozenset(one.norms) & frozenset(other.norms)

    def ratio(self, small: LossTerm, large: LossTerm) -> float:
        """How many times as hard `large` pulls on what both train; a weight written before it to make it large does not count.

        0.0 where `small` does not pull at all.
        """
        shared = self.shared(small, large)
        least = small.pull(shared)
        return large.pull(shared) / least / max(1.0, abs(large.factor)) if least > 0.0 else 0.0
