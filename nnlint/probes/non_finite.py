"""Where the first NaN or Inf of a forward comes from: a second run that looks at every op's output and inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from nnlint import ops
from nnlint.capture.bindings import tensor_leaves
from nnlint.probes.stats import NonFinite

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph

#: Ops that put -inf in place on purpose: attention masks are filled, added and carried with it.
_MASKING = frozenset({"merge", "factory", "add", "view", "index", "identity", "cast", "concat", "where"})


class NonFiniteFinder:
    """Observer of a recorder: remembers the first op that made NaN or Inf out of finite inputs.

    -Inf alone is not a fault where masks are made; it becomes one only when an op turns it into NaN.
    """

    def __init__(self) -> None:
        self.node: fx.Node | None = None
        self.what = ""
        self.ranges: list[tuple[str, float, float]] = []

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Look at one op."""
        if self.node is not None or not output.is_floating_point() or output.layout is not torch.strided:
            return
        with torch.no_grad():
            x = output.detach()
            if bool(torch.isfinite(x).all()):
                return
            what = "NaN" if bool(torch.isnan(x).any()) else "Inf" if bool((x == float("inf")).any()) else "-Inf"
            if what == "-Inf" and ops.info(node.meta["name"]).kinds & _MASKING:
                return
            self.node, self.what = node, what
            self.ranges = [
                (str(path[0] if path else ""), *_finite_range(tensor.detach()))
                for path, tensor in tensor_leaves((args, kwargs), depth=4)
                if tensor.is_floating_point() and tensor is not output
            ]

    def found(self, graph: Graph) -> NonFinite | None:
        """The op, as a view of this run's graph."""
        if self.node is None:
            return None
        return NonFinite(graph.of(self.node), self.what, tuple(self.ranges))


def _finite_range(tensor: torch.Tensor) -> tuple[float, float]:
    values = tensor[torch.isfinite(tensor)]
    if not values.numel():
        return (float("nan"), float("nan"))
    return (float(values.min()), float(values.max()))
