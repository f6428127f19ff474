"""Models of torch_geometric."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.zoo import Build
from benchmarks.zoo.listed import is_listed

_NAMES = ("GCN", "GraphSAGE", "GIN", "GAT", "EdgeCNN", "PMLP", "GraphUNet", "AttentiveFP", "LINKX")


def graph_models() -> Iterator[tuple[str, Build]]:
    """Small models on a random graph of 20 nodes."""
    for name in _NAMES:
        if is_listed(f"pyg/{name}"):
            yield f"pyg/{name}", functools.partial(_graph, name)


def _graph(name: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    import torch_geometric.nn

    torch.manual_seed(0)
    x, edges = torch.randn(20, 8), torch.randint(0, 20, (2, 60))
    make = getattr(torch_geometric.nn, name)
    if name == "GraphUNet":
        return make(8, 16, 4, 2).eval(), (x, edges), {}
    if name == "AttentiveFP":
        features, graph = torch.randn(60, 3), torch.zeros(20, dtype=torch.long)
        return make(8, 16, 4, 3, 2, 2).eval(), (x, edges, features, graph), {}
    if name == "LINKX":
        return make(20, 8, 16, 4, 2).eval(), (x, edges), {}
    return make(8, 16, num_layers=3, out_channels=4).eval(), (x, edges), {}
