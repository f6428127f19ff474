"""INI008: a self-normalizing network without what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint.kinds import SHAPE_ONLY
from nnlint_rules._shared.words import listed, paths
from nnlint_rules.initialization._stacks import Layer, covered, layers

if TYPE_CHECKING:
    from nnlint import Graph, Op, Parameters


class SeluInit(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#weight-scale."""

    tolerance: float = Field(
        default=1.25, description="accepted factor between the weight deviation and 1/sqrt(fan_in)"
    )
    layers: int = Field(default=2, description="fewest SELU layers that make a self-normalizing network")


@rule("INI008", "selu-init", level="warning", since="0.1")
def check(graph: Graph, parameters: Parameters, options: SeluInit) -> Iterator[Finding]:
    """SELU layers whose weights are not of LeCun scale, or SELU outputs with plain dropout.

    ## What it does
    In a network with at least two SELU layers, compares each fresh weight before a SELU with LeCun initialization
    (deviation 1 / sqrt(fan_in)), and looks for plain dropout on a SELU's output. Layers with a norm between are left
    out.

    ## Why is this bad?
    SELU keeps mean 0 and variance 1 from layer to layer only for weights of variance 1 / fan_in. torch's default has
    a third of it and the signal shrinks. Plain dropout sets values to zero, which is not where SELU saturates: mean
    and variance leave the fixed point. `nn.AlphaDropout` keeps them.

    ## Example
        nn.Linear(64, 64), nn.SELU(), nn.Dropout(0.1)

    ## Use instead
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")   # LeCun
        layer, nn.SELU(), nn.AlphaDropout(0.1)

    ## References
    - Klambauer et al.: Self-Normalizing Neural Networks, 2017, arXiv:1706.02515
    - PyTorch: `torch.nn.init.calculate_gain`, note on SELU
    """
    activations = graph.calls("selu")
    if len(activations) < options.layers:
        return
    dropped = [op for op in graph.calls("dropout") if _is_plain_dropout_of_selu(graph, op)]
    if dropped:
        yield Finding(
            at=dropped[0],
            message=f"plain dropout on the output of {listed(op.label for op in activations)} moves mean and variance "
            "away from the fixed point that SELU rests on",
            evidence={"dropouts": [op.label for op in dropped]},
            fix="use nn.AlphaDropout",
            modules=paths(dropped),
        )
    if dropped and not parameters.fresh:
        return
    parameters.require_fresh()
    wrong = [layer for layer in layers(graph, parameters) if _is_wrong(layer, options)]
    if wrong:
        first = wrong[0]
        yield Finding(
            at=first.op,
            message=f"the weights before SELU have {first.gain:.2f}x the LeCun scale (accepted within "
            f"{options.tolerance:g}x): the network does not normalize itself ({listed(layer.op.label for layer in wrong)})",
            evidence={"of_lecun": {layer.weight.name: layer.gain for layer in wrong}, "tolerance": options.tolerance},
            fix="nn.init.kaiming_normal_(layer.weight, nonlinearity='linear') and zero biases",
            modules=covered(wrong),
        )


def _is_wrong(layer: Layer, options: SeluInit) -> bool:
    if layer.activation is None or layer.activation.name != "selu" or layer.weight.constant or not layer.weight.finite:
        return False
    return not 1 / options.tolerance <= layer.gain <= options.tolerance


def _is_plain_dropout_of_selu(graph: Graph, dropout: Op) -> bool:
    p = dropout.argument("p", 0.5)
    active = dropout.argument("training") is not False and isinstance(p, (int, float)) and p > 0.0
    if not active or dropout.is_kind("alpha-dropout") or not dropout.activations:
        return False
    return graph.producer(dropout.activations[0], through=SHAPE_ONLY | {"pool"}).name == "selu"
