"""INI002: a weight matrix with one value everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.initialization._stacks import SYMPTOMS, Layer, layers, layers_below, listed, paths

if TYPE_CHECKING:
    from nnlint import Graph, Op, Parameters
    from nnlint.probes.parameter_view import ParameterView

_FOLLOWERS = ["INI001", "INI003", "INI004", "INI006", "INI007", "INI009", *SYMPTOMS]


@rule("INI002", "constant-weights", level="error", since="0.1", explains=_FOLLOWERS)
def check(graph: Graph, parameters: Parameters) -> Iterator[Finding]:
    """A weight matrix whose entries are all equal.

    ## What it does
    Looks for layers whose weight has a single value. It is an error where the next layer is
    constant too: the units stay equal for ever. A constant layer before a random one is a warning. Zero weights of an
    output layer, of the last layer of a residual branch (zero-init residuals, LoRA, zero convolutions), norms,
    biases, scales, embeddings, depthwise filters, layers with one unit and frozen weights are left out.

    ## Why is this bad?
    Units with the same weights compute the same number and get the same gradient, so that they never become
    different: a layer of 128 units is worth one. With zeros in two layers in sequence no gradient reaches either of
    them. The initial loss does not show it: equal logits give exactly ln(classes).

    ## Example
        nn.init.constant_(self.conv1.weight, 100)

    ## Use instead
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")

    ## References
    - Goodfellow, Bengio and Courville: Deep Learning, 2016, section 8.4 (symmetry breaking)
    """
    parameters.require_fresh()
    found = layers(graph, parameters)
    constant = [layer for layer in found if _is_suspect(layer)]
    values = {layer.op: layer.weight.value for layer in found}
    stuck = [_Case(layer.op, layer.weight) for layer in constant if _stays_equal(layer, values)]
    if stuck:
        yield _finding(
            stuck,
            "the layer beside it is constant too, so its units get the same gradient and stay equal for ever",
            None,
        )
        return
    lonely = [_Case(layer.op, layer.weight) for layer in constant if layer.weight.value or not _may_be_zero(layer)]
    lonely += [_Case(view, view) for view in parameters if _is_constant_cell(view)]
    if lonely:
        why = "all its units start equal and differ only by what the next layer sends back"
        yield _finding(lonely, why, Level.WARNING)


@dataclass(frozen=True)
class _Case:
    """A constant weight and the place to show for it."""

    place: Op | ParameterView
    weight: ParameterView


def _finding(found: list[_Case], why: str, level: Level | None) -> Finding:
    first = found[0]
    return Finding(
        at=first.place,
        level=level,
        message=f"all {first.weight.numel} entries of {first.weight.name} are {first.weight.value:g}: {why}"
        + (f"; likewise {listed(case.place.label for case in found[1:])}" if len(found) > 1 else ""),
        evidence={case.weight.name: case.weight.value for case in found},
        fix="leave torch's default initialization, or draw the weights: nn.init.kaiming_normal_(layer.weight)",
        modules=paths(case.place for case in found),
    )


def _is_constant_cell(view: ParameterView) -> bool:
    """A matrix of a recurrent or attention layer, which is no linear map of the graph; zeros may be meant there."""
    if view.kind != "recurrent" and view.owner_type != "MultiheadAttention":
        return False
    return view.kind in ("recurrent", "weight") and view.requires_grad and bool(view.value)


def _is_suspect(layer: Layer) -> bool:
    weight = layer.weight
    several_units = len(weight.shape) >= 2 and weight.shape[0] > 1 and weight.numel > weight.shape[0]
    return weight.constant and weight.requires_grad and several_units and not layer.is_depthwise


def _stays_equal(layer: Layer, values: dict[Op, float | None]) -> bool:
    """Whether this layer and a neighbour are constant: with zeros nothing moves, else the units move alike."""
    below = layers_below(layer.op)
    if any(_both(layer.weight.value, values.get(op)) for op in below):
        return True
    return any(layer.op in layers_below(op) and _both(value, layer.weight.value) for op, value in values.items())


def _both(one: float | None, other: float | None) -> bool:
    """Two constant layers in sequence; a single zero one still passes a gradient to itself."""
    return one is not None and other is not None and bool(one) == bool(other)


def _may_be_zero(layer: Layer) -> bool:
    """Zero weights that wake up after one step: an output layer, the last layer of a branch that is added."""
    if not layers_below(layer.op):
        return True
    waiting, seen = list(layer.op.users), set()
    while waiting:
        user = waiting.pop()
        if user in seen or user.is_kind("linear-map"):
            continue
        seen.add(user)
        if user.is_kind("add", "mul", "concat"):
            return True
        waiting.extend(user.users)
    return False
