"""NRM005: dropout that drops (nearly) everything, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules._shared.words import listed, paths
from nnlint_rules.normalization._layers import drop_probability, is_in_training

if TYPE_CHECKING:
    from nnlint import EvalStats, Graph, Model, Op


class ExtremeDropout(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#extreme-dropout."""

    largest: float = Field(default=0.8, description="largest accepted dropout probability")


@rule("NRM005", "extreme-dropout", level="warning", since="0.1")
def check(graph: Graph, model: Model, evaluation: EvalStats | None, options: ExtremeDropout) -> Iterator[Finding]:
    """Dropout with a probability that leaves almost nothing, or has no effect at all.

    ## What it does
    Reads the probability of every dropout call in training mode: above 0.8 is a warning, 1 is an error (the output is
    all zeros), and a declared dropout layer with p = 0 is an info. And looks for the operation, dropout or written by hand, that
    lets values through in training and gives nothing but zeros in evaluation mode: an error.

    ## Why is this bad?
    The kept values are scaled by 1/(1-p): at p = 0.9 one value in ten survives, ten times as large, and the gradient
    is mostly noise. Often `p` was meant as the probability to keep, as in older frameworks. At p = 1 nothing passes
    at all.

    ## Example
        nn.Dropout(0.9)  # meant: keep 90 %

    ## Use instead
        nn.Dropout(0.1)

    ## References
    - PyTorch: `torch.nn.Dropout`, p is the probability of an element to be zeroed
    - Srivastava et al.: Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 2014
    """
    emptied = evaluation.emptied if evaluation is not None else None
    if emptied is not None:
        yield _in_evaluation(emptied)
    inert: list[Op] = []
    for op, p in _probabilities(graph):
        if p >= 1.0:
            starved: list[Op] = sorted(_layers_above(graph, op), key=lambda above: above.index)
            yield Finding(
                at=op,
                level=Level.ERROR,
                message="drops everything (p = 1): its output is all zeros in training, and no gradient passes",
                evidence={"p": p, "limit": options.largest},
                fix="use a probability such as 0.5; p is the share that is dropped, not the share that is kept",
                modules=paths(starved),
            )
        elif p > options.largest:
            yield Finding(
                at=op,
                message=f"drops {p:.0%} of its input (limit {options.largest:.0%}) "
                f"and scales the rest by {1 / (1 - p):.3g}",
                evidence={"p": p, "limit": options.largest},
                fix=f"use p <= {options.largest:g}; if {p:g} was meant as the share to keep, use p={1 - p:.3g}",
            )
        elif p == 0.0 and op.is_kind("dropout") and _is_declared_by_user(op, graph, model):
            inert.append(op)
    if inert:
        yield Finding(
            at=inert[0],
            level=Level.INFO,
            message=f"p = 0: the dropout does nothing: {listed(op.label for op in inert)}",
            evidence={"p": 0.0, "layers": [op.label for op in inert]},
            fix="set the probability, or leave the layer out",
            modules=paths(inert),
        )


def _in_evaluation(op: Op) -> Finding:
    return Finding(
        at=op,
        message=f"{op.label} gives nothing but zeros in evaluation mode, and more in training: the model is evaluated without "
        "what comes before it",
        evidence={"mode": "evaluation"},
        level=Level.ERROR,
        fix="let evaluation mode pass everything: nn.Dropout(p), or F.dropout(x, p, training=self.training); written by hand, "
        "`return x` unless self.training",
    )


def _layers_above(graph: Graph, op: Op) -> list[Op]:
    """The layers that get no gradient through the op."""
    return [above for above in graph.ancestors(op) if above.is_kind("linear-map")]


def _is_declared_by_user(op: Op, graph: Graph, model: Model) -> bool:
    """A dropout layer written in the user's code; libraries build theirs from a configuration, often with p = 0."""
    place = op.call_location or op.construction
    layer = model.find(op.module_path)
    is_layer = layer is not None and layer.is_type("torch.nn.modules.dropout._DropoutNd")
    return is_layer and not graph.facts.is_of_library(place)


def _probabilities(graph: Graph) -> Iterator[tuple[Op, float]]:
    """Dropouts, and attention with dropout of its weights, each place once."""
    seen = set()
    for op in graph.calls("dropout", "attention"):
        place = (op.module_path, op.location)
        if place in seen:
            continue
        seen.add(place)
        if op.is_kind("dropout"):
            if is_in_training(op):
                yield op, drop_probability(op)
            continue
        p = op.argument("dropout_p", 0.0)
        if isinstance(p, (int, float)):
            yield op, float(p)
