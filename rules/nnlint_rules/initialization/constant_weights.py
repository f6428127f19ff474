"""INI002: a weight matrix with one value everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules._shared.words import listed, paths
from nnlint_rules.initialization._stacks import Layer, bias_of, layers, layers_below

if TYPE_CHECKING:
    from nnlint import Graph, Op, Parameters, ParameterView, Place


@rule("INI002", "constant-weights", level="error", since="0.1")
def check(graph: Graph, parameters: Parameters) -> Iterator[Finding]:
    """A weight matrix whose entries are all equal.

    ## What it does
    Looks for layers whose weight has a single value. It is an error where a neighbouring layer is constant too: the
    units stay equal; and for zeros that never get a gradient: after them a rectifier, which is flat at 0, or zeros
    again. A constant layer between random ones is a warning, zeros that wake up after a step an info. Zero weights of
    an output layer or at the end of a residual branch (zero-init residuals, LoRA, zero convolutions), norms, biases,
    scales, embeddings, depthwise filters, layers with one unit and frozen weights are left out.

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
    values = {layer.op: layer.weight.value for layer in found}
    constant = [layer for layer in found if _is_suspect(layer)]
    equal = [layer for layer in constant if layer.weight.value]
    nothing = _are_all_zero(graph, parameters, found)
    zero = [layer for layer in constant if not layer.weight.value and (nothing or not _may_be_zero(layer))]
    stuck = [_case(layer) for layer in equal if _has_equal_neighbour(layer, values)]
    dead = [_case(layer) for layer in zero if nothing or _is_dead(layer, values, parameters)]
    if stuck:
        why = "the layer beside it is constant too: the units get the same gradient, and only their biases tell them apart"
        yield _finding(stuck, why, None)
    if dead:
        yield _finding(dead, "its output is 0 for every input and no gradient reaches it: it never changes", None)
    if stuck or dead:
        return
    lonely = [_case(layer) for layer in equal]
    lonely += [_Case(view, view) for view in parameters if _is_constant_cell(view)]
    if lonely:
        why = "all its units start equal and differ only by what the next layer sends back"
        yield _finding(lonely, why, Level.WARNING)
    if zero:
        yield _finding(
            [_case(layer) for layer in zero], "nothing of the input passes it until a step was taken", Level.INFO
        )


@dataclass(frozen=True)
class _Case:
    """A constant weight and the place to show for it."""

    place: Op | ParameterView
    weight: ParameterView
    activation: Op | None = None
    built: Place | None = None


def _case(layer: Layer) -> _Case:
    return _Case(layer.op, layer.weight, layer.activation, layer.place)


def _finding(found: list[_Case], why: str, level: Level | None) -> Finding:
    first = found[0]
    return Finding(
        at=first.built or first.place,
        level=level,
        message=f"all {first.weight.numel} entries of {first.weight.name} are {first.weight.value:g}: {why}"
        + (f"; likewise {listed(case.place.label for case in found[1:])}" if len(found) > 1 else ""),
        evidence={case.weight.name: case.weight.value for case in found},
        fix="leave torch's default initialization, or draw the weights: nn.init.kaiming_normal_(layer.weight)",
        modules=paths(place for case in found for place in (case.place, case.activation) if place is not None),
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


def _has_equal_neighbour(layer: Layer, values: dict[Op, float | None]) -> bool:
    """Whether the layer before or after it is constant too, so that nothing sets the units apart."""
    if any(values.get(op) for op in layers_below(layer.op)):
        return True
    return any(value and layer.op in layers_below(op) for op, value in values.items())


def _is_dead(layer: Layer, values: dict[Op, float | None], parameters: Parameters) -> bool:
    """Whether a zero layer gets no gradient: a rectifier is flat at 0, and zeros after it send nothing back."""
    bias = bias_of(layer, parameters)
    if bias is not None and bias.value != 0.0:
        return False
    if layer.activation is not None and layer.activation.is_kind("rectifier"):
        return True
    below = layers_below(layer.op)
    passes_zero = layer.activation is None or not (
        layer.activation.is_kind("sigmoid") or layer.activation.name == "softplus"
    )
    return passes_zero and bool(below) and all(values.get(op) == 0.0 for op in below)


def _are_all_zero(graph: Graph, parameters: Parameters, found: Sequence[Layer]) -> bool:
    """Whether every layer is zero, with its bias, and one feeds another: no branch goes around them, none sends anything back."""
    biases = [bias_of(layer, parameters) for layer in found]
    zero = all(view.value == 0.0 for view in (*(layer.weight for layer in found), *biases) if view is not None)
    return zero and any(graph.reaches(one.op, other.op) for one in found for other in found if one is not other)


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
