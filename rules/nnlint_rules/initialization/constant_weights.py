"""INI002: a weight matrix with one value everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.initialization._stacks import SYMPTOMS, Layer, layers, layers_below, listed, paths

if TYPE_CHECKING:
    from nnlint import Graph, Op, Parameters

_FOLLOWERS = ["INI001", "INI003", "INI004", "INI006", "INI007", "INI009", *SYMPTOMS]


@rule("INI002", "constant-weights", level="error", since="0.1", explains=_FOLLOWERS)
def check(graph: Graph, parameters: Parameters) -> Iterator[Finding]:
    """A weight matrix whose entries are all equal.

    ## What it does
    Looks for linear and convolution layers whose weight has a single value. It is an error where the next layer is
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
    constant = {layer.op: layer for layer in found if _is_suspect(layer)}
    values = {layer.op: layer.weight.value for layer in found}
    stuck = [layer for layer in constant.values() if _stays_equal(layer, values)]
    lonely = [
        layer for layer in constant.values() if layer not in stuck and (layer.weight.value or not _may_be_zero(layer))
    ]
    if stuck:
        yield _finding(
            stuck,
            "the layer beside it is constant too, so its units get the same gradient and stay equal for ever",
            None,
        )
    elif lonely:
        yield _finding(
            lonely, "all its units start equal and differ only by what the next layer sends back", Level.WARNING
        )


def _finding(found: list[Layer], why: str, level: Level | None) -> Finding:
    first = found[0]
    return Finding(
        at=first.op,
        level=level,
        message=f"all {first.weight.numel} entries of {first.weight.name} are {first.weight.value:g}: {why}"
        + (f"; likewise {listed(layer.op.label for layer in found[1:])}" if len(found) > 1 else ""),
        evidence={layer.weight.name: layer.weight.value for layer in found},
        fix="leave torch's default initialization, or draw the weights: nn.init.kaiming_normal_(layer.weight)",
        modules=paths(layer.op for layer in found),
    )


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
