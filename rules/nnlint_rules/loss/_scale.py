"""Logits with a scale of their own, and heads that start in a common way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nnlint_rules.loss._heads import is_cosine, is_made_by_model
from nnlint_rules.loss._reading import Reading

if TYPE_CHECKING:
    from nnlint import Graph, MeasuredLoss, Op, Parameters


#: What `kaiming_normal_`, `xavier_normal_` and their uniform forms give by default; other gains and fans are chosen for one layer.
_STANDARD = frozenset(
    {*(f"kaiming {kind} (relu, fan_in)" for kind in ("normal", "uniform")), "xavier normal", "xavier uniform"}
)
#: What is standard where a loop over the layers gives it to most of them, the head among them; of a head alone it is a choice.
_FOR_ALL = {f"kaiming {kind} (relu, fan_out)": f"kaiming {kind} (relu, fan_in)" for kind in ("normal", "uniform")}


def of_standard_families(parameters: Parameters) -> set[str]:
    """Weights that start as every layer of many nets does: of a head a common choice, whose logits a few updates calm."""
    views = [view for view in parameters.of_kind("weight") if view.init is not None]
    used = Counter(view.init.name for view in views if view.init is not None)
    common = set(_STANDARD)
    for name, square in _FOR_ALL.items():  # of a square layer both fans are one
        if used[name] + used[square] > max(1, len(views) // 2):
            common.add(name)
    return {view.name for view in views if view.init is not None and view.init.name in common}


def is_own_scale(graph: Graph, call: MeasuredLoss, reading: Reading) -> bool:
    """Whether the loss has a scale of its own: cosines under a temperature, or two outputs of the model compared."""
    if reading.excess is not None:
        return call.prediction is not None and is_cosine(call.prediction)
    return is_made_by_model(graph, call.target)


def is_similarity(layer: Op) -> bool:
    """Whether the logits are products of two computed things: a contrastive loss sharpens them on purpose."""
    return layer.is_kind("matmul") and not layer.parameters
