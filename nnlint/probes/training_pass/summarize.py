"""From what a collector gathered to the statistics of a pass: one transfer, plain numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nnlint.probes.training_pass.collector import Collector, standard_deviation
from nnlint.probes.training_pass.gradients import gradient_norms, norms_of
from nnlint.probes.training_pass.histograms import magnitudes, settled
from nnlint.probes.training_pass.non_finite import all_finite
from nnlint.probes.training_pass.stats import ForwardStats, LayerGradient, LayerStats, ParameterGradient

if TYPE_CHECKING:
    from torch import fx

    from nnlint.capture.graph import Graph
    from nnlint.setup.training_setup import TrainingSetup


def layer_statistics(graph: Graph, collector: Collector) -> tuple[tuple[LayerStats, ...], tuple[LayerGradient, ...]]:
    """Statistics of every measured op, and the gradients that came back to them."""
    numbers, norms = collector.settle()
    rows = collector.rows
    outputs = settled(row.histogram for row in rows)
    layers = tuple(
        replace(_layer(graph, row.node, row.numel, row.units, found), histogram=histogram)
        for row, found, histogram in zip(rows, numbers, outputs, strict=True)
        if found
    )
    gradients = tuple(
        LayerGradient(graph.of(row.node), norm, row.numel, histogram)
        for row, norm, histogram in zip(rows, norms, settled(row.gradient_histogram for row in rows), strict=True)
        if norm is not None
    )
    return layers, gradients


def forward_statistics(
    graph: Graph, collector: Collector, *, output: Any, loss: float | None, assumed: bool
) -> tuple[ForwardStats, tuple[LayerGradient, ...]]:
    """The statistics of a forward, and the gradients that came back to its layers.

    Args:
        graph: of the run.
        collector: what observed it.
        output: what the model returned.
        loss: its value; None where there is none.
        assumed: whether the inputs were made up.
    """
    layers, gradients = layer_statistics(graph, collector)
    forward = ForwardStats(
        layers=layers,
        samples=collector.layout.samples,
        loss=loss,
        graph=graph,
        assumed=assumed,
        outputs_finite=all_finite(output),
    )
    return forward, gradients


def _layer(graph: Graph, node: fx.Node, numel: int, units: int | None, found: dict[str, float]) -> LayerStats:
    std = standard_deviation(found["mean"], found["norm"], numel)
    never_active = found.get("never_active")
    sample_norm = found.get("sample_norm")
    return LayerStats(
        op=graph.of(node),
        mean=found["mean"],
        std=std,
        norm=found["norm"],
        numel=numel,
        finite=math.isfinite(std),
        zeros=1.0 - found["nonzero"] / numel if "nonzero" in found else None,
        units=units,
        never_active=int(never_active) if never_active is not None else None,
        saturated=found.get("saturated"),
        peak=peak if (peak := found.get("peak", math.nan)) == peak else None,
        sample_spread=sample_norm / math.sqrt(numel) / std
        if sample_norm is not None and std and math.isfinite(std)
        else None,
    )


def parameter_gradients(setup: TrainingSetup, *, histograms: bool = False) -> tuple[ParameterGradient, ...]:
    """Norms of all parameter gradients, with histograms of gradients and weights where they are wanted."""
    named = [(name, parameter) for name, parameter in setup.model.named_parameters() if parameter.requires_grad]
    gradients = gradient_norms(setup.model)
    weights = norms_of(parameter for _, parameter in named)
    drawn = [parameter for _, parameter in named] if histograms else []
    of_gradients = settled(magnitudes(p.grad) if p.grad is not None else None for p in drawn)
    of_weights = settled(magnitudes(p) for p in drawn)
    return tuple(
        ParameterGradient(
            name,
            gradients[name],
            weight,
            parameter.numel(),
            setup.construction.get(name.rpartition(".")[0]),
            histogram=of_gradients[position] if histograms else (),
            weight_histogram=of_weights[position] if histograms else (),
        )
        for position, ((name, parameter), weight) in enumerate(zip(named, weights, strict=True))
    )
