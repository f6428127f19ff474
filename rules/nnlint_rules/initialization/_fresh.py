"""Which weights still are those of one certain initialization, and what reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Graph, Op, Parameters, ParameterView


#: Fresh families that say no more than a shape occur among trained tensors too.
_UNSPECIFIC = frozenset({"uniform", "normal", "truncated-normal", "constant", "orthogonal", "identity"})


def is_certain(view: ParameterView) -> bool:
    """Whether the values are those of one certain initialization, scale included."""
    family = view.init
    return family is not None and family.name not in _UNSPECIFIC and family.shape != "constant"


def has_trained_bias(view: ParameterView, parameters: Parameters) -> bool:
    """Whether the bias beside a weight is neither constant nor within torch's default, in a model that is not fresh as a whole.

    The values of a trained matrix may well look as if drawn by Kaiming's or LeCun's rule; a trained bias does not look fresh.
    """
    if parameters.fresh:
        return False
    owner, _, leaf = view.name.rpartition(".")
    bias = parameters.find(f"{owner}.bias" if owner else "bias") if leaf == "weight" else None
    if bias is None:
        return False
    return bias.init is None or (bias.init.shape != "constant" and bias.init.name != "torch default")


def readers_of(graph: Graph) -> dict[str, list[Op]]:
    """The ops that read each parameter."""
    found: dict[str, list[Op]] = {}
    for op in graph.ops:
        for name in op.parameters:
            found.setdefault(name, []).append(op)
    return found


def feeds(graph: Graph, op: Op, trained: set[str]) -> bool:
    """Whether an op comes before layers of these weights."""
    return any(not trained.isdisjoint(below.parameters) for below in graph.descendants(op))


def is_fed(graph: Graph, op: Op, trained: set[str]) -> bool:
    """Whether an op comes after layers of these weights."""
    return any(not trained.isdisjoint(above.parameters) for above in graph.ancestors(op))
